// What is known of brokers that do not do what the specification asks, each with its paragraph and what the client does about it.

/**
 * @typedef {object} Fault
 * @property {string} broker
 * @property {RegExp} checks The names of the checks that fail because of it.
 * @property {4 | 5} [only] The version that has it. Default: both.
 * @property {string} [notOffered] It is no fault: the specification leaves it to the broker.
 * @property {string} [fault] What the broker does.
 * @property {string} [paragraph] The paragraph of the specification.
 * @property {string} [client] How the client copes.
 */

/** @type {Fault[]} */
const FAULTS = []

/** The fault that explains why a check fails, or undefined. */
export function explain(broker, check, version) {
  return FAULTS.find(
    (fault) =>
      fault.broker === broker &&
      fault.checks.test(check) &&
      (fault.only === undefined || fault.only === version),
  )
}
