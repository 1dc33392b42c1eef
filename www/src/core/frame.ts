// When things are drawn. Text changes at most eight times a second, what a person does is answered in the next frame, charts follow
// animation frames. A view that throws is reported where it stands and disturbs no other.

export interface View {
  /** Shows the current state. Called in an animation frame. */
  draw(): void
  /** Told when `draw` has thrown, and with undefined when it works again. */
  failed?(error: Error | undefined): void
}

const TEXT_EVERY = 120 // ms
const paced = new Set<View>()
const waiting = new Set<View>()
const broken = new WeakSet<View>()
let scheduled = false

/** Draws `view` in the next frame. */
export function drawNow(view: View): void {
  waiting.add(view)
  schedule()
}

/** Draws `view` now and eight times a second from now on, while the page is visible. Returns what ends it. */
export function drawPaced(view: View): () => void {
  paced.add(view)
  drawNow(view)
  return () => {
    paced.delete(view)
    waiting.delete(view)
  }
}

setInterval(() => {
  if (document.hidden || paced.size === 0) return
  for (const view of paced) waiting.add(view)
  schedule()
}, TEXT_EVERY)

function schedule(): void {
  if (scheduled) return
  scheduled = true
  requestAnimationFrame(run)
}

function run(): void {
  scheduled = false
  const views = [...waiting]
  waiting.clear()
  for (const view of views) {
    try {
      view.draw()
      if (broken.delete(view)) view.failed?.(undefined)
    } catch (error) {
      if (!broken.has(view)) console.error(error)
      broken.add(view)
      view.failed?.(error as Error)
    }
  }
}
