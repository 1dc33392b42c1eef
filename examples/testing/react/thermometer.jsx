import { useEffect, useState } from 'react'

/** Milliseconds after which a temperature is old. */
export const OLD = 30_000

/** Shows the temperature, which comes through a client of wasmqtt. */
export function Thermometer({ client }) {
  const [temperature, setTemperature] = useState()
  const [isOld, setOld] = useState(false)

  useEffect(() => {
    let old
    const subscription = client.subscribe('temperature', (message) => {
      setTemperature(message.text())
      setOld(false)
      clearTimeout(old)
      old = setTimeout(() => setOld(true), OLD)
    })
    return () => {
      clearTimeout(old)
      subscription.then((subscribed) => subscribed.unsubscribe()).catch(() => {})
    }
  }, [client])

  const set = (target) => client.publish('target', target, { qos: 1, retain: true })
  return (
    <>
      <output>{temperature === undefined ? 'unknown' : `${temperature} °C`}</output>
      {isOld && <strong>old</strong>}
      <button type="button" onClick={() => set('20')}>
        20 degrees, please
      </button>
    </>
  )
}
