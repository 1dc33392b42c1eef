// Light, dark, or as the system has it.
import { stored } from '../core/profile.ts'

export type Theme = 'system' | 'light' | 'dark'

export const storedTheme = (): Theme => stored.get<Theme>('theme', 'system')

/** Shows the page in these colours, and remembers them in this browser. */
export function applyTheme(theme: Theme): void {
  stored.set('theme', theme)
  const { dataset } = document.documentElement
  if (theme === 'system') delete dataset.theme
  else dataset.theme = theme
}
