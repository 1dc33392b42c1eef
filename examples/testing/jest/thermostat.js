const { connect } = require('wasmqtt')

/** Milliseconds without a word from the thermometer, after which the heating goes off. */
const SILENCE = 30_000

/** Turns the heating on where it is colder than `target` degrees, until the client that this resolves with ends. */
async function startThermostat(url, target, options) {
  const client = await connect(url, options)
  const heat = (state) => client.publish('heating', state, { qos: 1, retain: true })
  let silence
  await client.subscribe('temperature', { qos: 1 }, (message) => {
    clearTimeout(silence)
    silence = setTimeout(heat, SILENCE, 'off')
    return heat(Number(message.text()) < target ? 'on' : 'off')
  })
  client.on('close', () => clearTimeout(silence))
  return client
}

module.exports = { SILENCE, startThermostat }
