// A broker and the devices of `npm start`, in the page: for visitors who have no broker. It is loaded when somebody asks for it.
import { Client } from 'wasmqtt'
import { TestBroker } from 'wasmqtt/testing'
import { CRASHES, DEVICES, startDevice } from '../../../scripts/devices.mjs'
import { DEMO } from '../core/socket.ts'

/** ms from the start of the device that crashes to its crash, and from there to its next start. */
const CRASH_AFTER = 30_000
const BACK_AFTER = 8_000

const broker = new TestBroker()
export const { transport } = broker

const start = (name: string) =>
  startDevice(name, (options) => new Client(DEMO, { ...options, transport }))

async function startAndCrash(): Promise<void> {
  const { crash } = await start(CRASHES)
  setTimeout(() => {
    crash()
    setTimeout(startAndCrash, BACK_AFTER)
  }, CRASH_AFTER)
}

for (const name of Object.keys(DEVICES)) name === CRASHES ? startAndCrash() : start(name)
