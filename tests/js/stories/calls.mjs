// Every method of the API is called from every place where the application is called.
import { PACES } from '../loopback.mjs'
import { ACTIONS } from './actions.mjs'
import { live, PLACES } from './life.mjs'
import { equal, ok } from './tools.mjs'

/** Every action at every place; `pace`: how soon the broker answers. */
async function matrix(wasmqtt, places, pace) {
  // Listeners of 'error' that throw are reported there.
  const { error } = console
  console.error = () => {}
  const failures = []
  const lives = places.flatMap((place) => Object.keys(ACTIONS).map((action) => [place, action]))
  const run = async ([place, action]) =>
    live(wasmqtt, place, ACTIONS[action], { pace }).catch((error) =>
      failures.push([place, action, error]),
    )
  const queue = [...lives]
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      while (queue.length > 0) await run(queue.shift())
    }),
  )
  // A trap takes its neighbours along: which of them was it?
  const suspects = failures.splice(0)
  for (const [place, action] of suspects) await run([place, action])
  console.error = error
  const guilty = failures.length > 0 ? failures : suspects
  ok(
    guilty.length === 0,
    `${guilty.length} of ${lives.length}:\n${guilty.map(([place, action, error]) => `'${action}' in '${place}': ${error?.stack ?? error}`).join('\n')}`,
  )
  return `${lives.length} lives`
}

/** Where it matters how soon the broker answers. */
const SOME_PLACES = [
  'handler',
  'event connect',
  'callback of publish',
  'socket.send',
  'authentication.continue',
]

export const CALLS = {
  async 'a life without incident brings every message to its place'(wasmqtt) {
    for (const pace of Object.values(PACES)) {
      const { got, codes, fatal } = await live(wasmqtt, undefined, undefined, { pace })
      equal(got, { handler: 10, 'handler, settled': 6, 'handler, manual': 6 }, 'messages')
      equal(codes, [], 'errors')
      equal(fatal, undefined, 'the end')
    }
  },

  'every method in every callback': (wasmqtt) => matrix(wasmqtt, PLACES, PACES['after the turn']),
  'every method in some callbacks, with a broker that answers before send() returns': (wasmqtt) =>
    matrix(wasmqtt, SOME_PLACES, PACES['at once']),
  'every method in some callbacks, with a broker that answers in another task': (wasmqtt) =>
    matrix(wasmqtt, SOME_PLACES, PACES['in a new task']),
}
