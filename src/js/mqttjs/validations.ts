/** Whether a text is a valid topic filter. MQTT 5, 4.7. */
export function validateTopic(topic: string): boolean {
  const levels = topic.split('/')
  return levels.every((level, at) => {
    if (level === '+') return true
    if (level === '#') return at === levels.length - 1
    return !level.includes('+') && !level.includes('#')
  })
}

/** The first of the filters that is not valid; 'empty_topic_list' if there is none at all; null if all are valid. */
export function validateTopics(topics: readonly string[]): string | null {
  if (topics.length === 0) return 'empty_topic_list'
  return topics.find((topic) => !validateTopic(topic)) ?? null
}
