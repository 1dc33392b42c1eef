// One redraw per animation frame, however many messages arrive in between.
const waiting = new Set()

export function redraw(view) {
  if (waiting.size === 0) requestAnimationFrame(run)
  waiting.add(view)
}

function run() {
  const views = [...waiting]
  waiting.clear()
  for (const view of views) view()
}
