import { matches as coreMatches } from '#glue'
import { call } from './core/instance.js'
import * as validate from './validate.js'

/**
 * Whether a topic matches a filter: topics that begin with `$`, and shared subscriptions included. MQTT 5.0, section 4.7.
 *
 * @throws InvalidArgumentError if one of them is not valid
 * @example
 * matches('house/+/temperature', 'house/kitchen/temperature') // true
 */
export function matches(filter: string, topic: string): boolean {
  validate.string(filter, 'filter')
  validate.string(topic, 'topic')
  return call(() => coreMatches(filter, topic))
}
