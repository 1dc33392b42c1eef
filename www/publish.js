// The publish form, which shows the round trip of acknowledged messages.
export class Publisher {
  #form
  #said
  #client

  constructor({ form, said, client }) {
    this.#form = form
    this.#said = said
    this.#client = client
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      const { topic, payload, qos, retain } = form.elements
      this.publish(topic.value, payload.value, { qos: Number(qos.value), retain: retain.checked })
    })
    form.elements.payload.addEventListener('keydown', (event) => {
      if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) form.requestSubmit()
    })
  }

  fill(topic, payload) {
    this.#form.elements.topic.value = topic
    this.#form.elements.payload.value = payload
    this.#form.elements.payload.focus()
  }

  async publish(topic, payload, options) {
    const client = this.#client()
    if (!client) return this.#say('Connect first.', true)
    const began = performance.now()
    if (!client.connected) this.#say('Not connected: queued.')
    try {
      await client.publish(topic, payload, options)
      const took = `${(performance.now() - began).toFixed(1)} ms`
      this.#say(
        options.qos === 0
          ? 'Sent (QoS 0: nobody acknowledges it).'
          : `Acknowledged after ${took} (QoS ${options.qos}).`,
      )
    } catch (error) {
      this.#say(error.message, true)
    }
  }

  #say(text, failed = false) {
    this.#said.textContent = text
    this.#said.classList.toggle('failed', failed)
  }
}
