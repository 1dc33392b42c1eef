// The page: the bar, what has to be said, and the panels in as many docks as there is room for.
import { render } from 'preact'
import { useEffect } from 'preact/hooks'
import { connect, subs } from '../core/link.ts'
import { ChartsPanel } from './charts.tsx'
import { Boundary, Questions, Tabs } from './common.tsx'
import { Bar, ConnectionDialog, Notices } from './connection.tsx'
import { DetailPanel } from './detail.tsx'
import { MessagesPanel, TopicsPanel } from './explorer.tsx'
import { keepFocus } from './focus.ts'
import {
  DevicesPanel,
  OfflinePanel,
  RetainedPanel,
  SubscriptionsPanel,
  TrafficPanel,
} from './panels.tsx'
import { PublishPanel } from './publish.tsx'
import {
  charted,
  connectionOpen,
  docks,
  front,
  frontOf,
  initial,
  PANELS,
  type PanelName,
  room,
} from './state.ts'
import './style.css'

const CONTENT: Record<PanelName, () => preact.JSX.Element> = {
  topics: TopicsPanel,
  detail: DetailPanel,
  messages: MessagesPanel,
  charts: ChartsPanel,
  publish: PublishPanel,
  devices: DevicesPanel,
  retained: RetainedPanel,
  subscriptions: SubscriptionsPanel,
  traffic: TrafficPanel,
  offline: OfflinePanel,
}

function badge(panel: PanelName): string | undefined {
  if (panel === 'charts' && charted.value.length) return String(charted.value.length)
  if (panel === 'subscriptions') {
    const refused = subs.value.filter(({ granted }) => granted === 'refused').length
    return refused ? `✕ ${refused}` : undefined
  }
  return undefined
}

function Dock({ name, panels }: { name: string; panels: PanelName[] }) {
  const shown = frontOf(name)
  const Panel = CONTENT[shown]
  const tabs = panels.map((id) => ({ id, title: PANELS[id], badge: badge(id) }))
  const body = (
    <Boundary name={PANELS[shown]} key={shown}>
      <Panel />
    </Boundary>
  )
  if (panels.length === 1)
    return (
      <section class={`dock ${name} single`} aria-label={PANELS[shown]}>
        <h2 class="dock-title">{PANELS[shown]}</h2>
        <div class="dock-body">{body}</div>
      </section>
    )
  return (
    <section
      class={`dock ${name}`}
      aria-label={tabs.length > 6 ? 'Panels' : `${PANELS[shown]} and more`}
    >
      <h2 class="dock-title">{PANELS[shown]}</h2>
      <Tabs
        tabs={tabs}
        front={shown}
        label="Panels"
        onFront={(id) => (front.value = { ...front.value, [name]: id })}
      />
      <div class="dock-body" role="tabpanel" id={`panel-${shown}`} aria-labelledby={`tab-${shown}`}>
        {body}
      </div>
    </section>
  )
}

function App() {
  useEffect(() => {
    if (initial) connect(initial)
    else connectionOpen.value = true
  }, [])
  return (
    <>
      <Bar />
      <Notices />
      <main class={`docks ${room.value}`}>
        {Object.entries(docks.value).map(([name, panels]) => (
          <Dock key={`${room.value} ${name}`} name={name} panels={panels} />
        ))}
      </main>
      <ConnectionDialog />
      <Questions />
    </>
  )
}

const page = document.getElementById('app') as HTMLElement
render(<App />, page)
keepFocus(page)
// Somebody has pasted another address into the same tab; what the page itself writes there does not come here.
addEventListener('hashchange', () => location.reload())
