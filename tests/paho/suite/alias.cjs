// Gives the shim where Paho's tests load Paho.
/** @type {any} */
const Module = require('node:module')
const { join } = require('node:path')

const load = Module._load
Module._load = function (request, parent, isMain) {
  return request === '../paho-mqtt'
    ? require(join(__dirname, '../../../pkg/paho.cjs'))
    : load.call(this, request, parent, isMain)
}
