/** Users of clients without a handler per subscription write something like this: it passes a message to every filter that matches. */
export class Routes {
  #routes = []

  add(filters, handler) {
    for (const filter of filters) {
      const pattern = filter
        .replace(/[.*?^${}()|[\]\\]/g, '\\$&')
        .replaceAll('+', '[^/]*')
        .replace(/\/?#$/, '.*')
      this.#routes.push({ pattern: new RegExp(`^${pattern}$`), handler })
    }
  }

  deliver(topic, payload) {
    const routes = this.#routes
    if (routes.length === 1) return routes[0].handler(topic, payload)
    for (const { pattern, handler } of routes) if (pattern.test(topic)) handler(topic, payload)
  }
}
