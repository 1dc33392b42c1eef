// Gives the shim wherever MQTT.js' tests import its sources. What the package has no counterpart of stays MQTT.js' own.
/** @type {any} */
const Module = require('node:module')
const { join } = require('node:path')

const shim = require(join(__dirname, '../../../pkg/mqttjs.cjs'))

/** By the last part of what is imported. */
const REPLACED = {
  src: shim,
  'src/lib/store': { __esModule: true, default: shim.Store },
  'src/lib/shared': shim,
  'src/lib/client': { __esModule: true, default: shim.MqttClient, ...shim },
}

const load = Module._load
Module._load = function (request, parent, isMain) {
  const fromTest = parent?.filename?.includes(join('test', 'node'))
  const name = request.replace(/^(\.\.\/)+/, '')
  if (fromTest && Object.hasOwn(REPLACED, name)) return REPLACED[name]
  return load.call(this, request, parent, isMain)
}
