// The focus never falls to the body: when the element that has it goes away (a row that was deleted, a message that was put away), what stands
// nearest takes it.

const FOCUSABLE = 'button:not(:disabled), [href], input, select, textarea, summary, [tabindex]'

/** Watches the page from now on. */
export function keepFocus(page: HTMLElement): void {
  /** The element that had the focus last, and what it was in, from the inside out. */
  let path: Element[] = []
  page.addEventListener('focusin', ({ target }) => {
    path = []
    for (let at = target as Element | null; at && at !== page; at = at.parentElement) path.push(at)
  })
  new MutationObserver(() => {
    if (document.activeElement !== document.body || path[0] === undefined) return
    // It is there still: somebody has clicked beside it.
    if (path[0].isConnected && !(path[0] as HTMLButtonElement).disabled) return
    const left = path.find((element) => element.isConnected && element !== path[0])
    const next = left?.querySelector<HTMLElement>(FOCUSABLE)
    if (next) next.focus({ preventScroll: true })
    else if (left instanceof HTMLElement) {
      left.tabIndex = -1
      left.focus({ preventScroll: true })
    } else page.querySelector<HTMLElement>(FOCUSABLE)?.focus({ preventScroll: true })
  }).observe(page, { childList: true, subtree: true, attributeFilter: ['disabled'] })
}
