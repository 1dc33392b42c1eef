// The house as its owner sees it: gauges, tiles and lamps that show, a switch, sliders and buttons that publish. What is not live looks so.

import { useSignal } from '@preact/signals'
import { type ComponentChildren, render } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { ago, number, seconds } from '../core/text.ts'
import { Boundary, Icon, Spark } from '../ui/common.tsx'
import { applyTheme, storedTheme, type Theme } from '../ui/theme.ts'
import {
  client,
  command,
  events,
  json,
  lastHeard,
  now,
  presence,
  reason,
  staleSince,
  state,
  text,
  url,
  version,
} from './house.ts'
import '../ui/style.css'
import './fleet.css'

/** One device: greyed when it or the link is gone, with the time when it was seen last. */
function Tile({
  title,
  device,
  topic,
  wide,
  children,
}: {
  title: string
  device: string
  topic: string
  wide?: boolean
  children: ComponentChildren
}) {
  const is = presence.value[device]
  const dead = staleSince.value !== undefined
  const offline = is !== undefined && !is.online
  const at = lastHeard(topic) ?? is?.at
  const tone = dead ? 'unknown' : is === undefined ? 'waiting' : offline ? 'offline' : 'online'
  return (
    <section
      class={`tile ${tone}${wide ? ' wide' : ''}${offline && is.lost && !dead ? ' lost' : ''}`}
      aria-label={title}
      data-device={device}
    >
      <header>
        <span class="lamp" />
        <h2>{title}</h2>
        <span class="tile-state">
          {dead || offline
            ? `last seen ${at ? ago(at, Math.max(now.value, at)) : '–'}`
            : is === undefined
              ? 'not heard yet'
              : 'online'}
        </span>
      </header>
      <Boundary name={title}>
        <div class="tile-body" inert={dead || offline}>
          {children}
        </div>
      </Boundary>
    </section>
  )
}

/** A value on an arc from `low` to `high`. */
function Gauge({
  label,
  value,
  unit,
  low,
  high,
  digits = 1,
  colour = 0,
}: {
  label: string
  value: number | undefined
  unit: string
  low: number
  high: number
  digits?: number
  colour?: number
}) {
  const share = value === undefined ? 0 : Math.min(1, Math.max(0, (value - low) / (high - low)))
  const length = 157
  return (
    <div
      class="gauge"
      role="meter"
      aria-label={label}
      aria-valuemin={low}
      aria-valuemax={high}
      aria-valuenow={value ?? low}
      aria-valuetext={value === undefined ? 'unknown' : `${value} ${unit}`}
    >
      <svg viewBox="0 0 120 74" aria-hidden="true">
        <path class="track" d="M10 64a50 50 0 01100 0" />
        <path
          class={`arc stroke-${colour}`}
          d="M10 64a50 50 0 01100 0"
          stroke-dasharray={`${share * length} 400`}
        />
        <text x="60" y="58" text-anchor="middle">
          {value === undefined ? '–' : value.toFixed(digits)}
        </text>
      </svg>
      <span class="gauge-label">
        {label} <span class="muted">{unit}</span>
      </span>
    </div>
  )
}

function Figure({
  label,
  value,
  unit,
  digits = 0,
}: {
  label: string
  value: number | undefined
  unit: string
  digits?: number
}) {
  return (
    <div class="number">
      <span class="muted">{label}</span>
      <b>
        {value === undefined ? '–' : value.toFixed(digits)} <small>{unit}</small>
      </b>
    </div>
  )
}

/** Publishes when it is let go, and shows what the device confirms. */
function Slider({
  label,
  topic,
  value,
  low,
  high,
  step,
  unit,
}: {
  label: string
  topic: string
  value: number | undefined
  low: number
  high: number
  step: number
  unit: string
}) {
  const moving = useSignal<number | undefined>(undefined)
  const asked = useSignal<number | undefined>(undefined)
  if (asked.value !== undefined && asked.value === value) asked.value = undefined
  const shown = moving.value ?? asked.value ?? value
  return (
    <label class="slider">
      <span class="slider-head">
        {label}
        <output>
          {shown === undefined ? '–' : number(shown)} {unit}
          {asked.value !== undefined && <span class="muted"> asked for…</span>}
        </output>
      </span>
      <input
        type="range"
        min={low}
        max={high}
        step={step}
        value={shown ?? low}
        onInput={({ currentTarget }) => (moving.value = +currentTarget.value)}
        onChange={({ currentTarget }) => {
          moving.value = undefined
          asked.value = +currentTarget.value
          command(topic, currentTarget.value)
        }}
      />
    </label>
  )
}

function Climate() {
  const temperature = +(text('living-room/climate/temperature') ?? Number.NaN)
  const humidity = +(text('living-room/climate/humidity') ?? Number.NaN)
  const target = text('living-room/climate/target')
  return (
    <Tile title="Living room" device="living-room/climate" topic="living-room/climate/temperature">
      <div class="gauges">
        <Gauge
          label="Temperature"
          unit="°C"
          value={known(temperature)}
          low={15}
          high={27}
          colour={1}
        />
        <Gauge
          label="Humidity"
          unit="%"
          value={known(humidity)}
          low={20}
          high={80}
          digits={0}
          colour={5}
        />
      </div>
      <Slider
        label="Thermostat"
        unit="°C"
        topic="living-room/climate/target/set"
        value={target === undefined ? undefined : +target}
        low={15}
        high={26}
        step={0.5}
      />
    </Tile>
  )
}

const known = (value: unknown): number | undefined =>
  typeof value === 'number' && Number.isFinite(value) ? value : undefined

function Meter() {
  const power = json('utility/meter/power')
  const watts = known(power?.watts)
  const past = useRef<number[]>([])
  const seen = useRef(0)
  const at = lastHeard('utility/meter/power') ?? 0
  if (watts !== undefined && at !== seen.current) {
    seen.current = at
    past.current = [...past.current.slice(-119), watts]
  }
  return (
    <Tile title="Electricity" device="utility/meter" topic="utility/meter/power" wide>
      <div class="meter">
        <p class="huge">
          {watts ?? '–'} <small>W</small>
        </p>
        <Spark values={past.current} width={360} height={84} fromZero={false} />
      </div>
      <div class="numbers">
        <Figure label="Voltage" unit="V" value={known(power?.volts)} digits={1} />
        <Figure label="Counter" unit="kWh" value={known(power?.kWh)} digits={2} />
        <Figure
          label="Lowest"
          unit="W"
          value={past.current.length ? Math.min(...past.current) : undefined}
        />
        <Figure
          label="Highest"
          unit="W"
          value={past.current.length ? Math.max(...past.current) : undefined}
        />
      </div>
    </Tile>
  )
}

function Weather() {
  const weather = json('garden/weather')
  return (
    <Tile title="Garden" device="garden/weather" topic="garden/weather">
      <div class="gauges">
        <Gauge label="Wind" unit="m/s" value={known(weather?.wind)} low={0} high={14} colour={2} />
        <Gauge
          label="Outside"
          unit="°C"
          value={known(weather?.temperature)}
          low={-5}
          high={30}
          colour={0}
        />
      </div>
      <p class={weather?.rain ? 'signal on' : 'signal'}>
        <span class="lamp" />{' '}
        {weather?.rain === undefined ? 'Rain: unknown' : weather.rain ? 'It rains' : 'No rain'}
      </p>
    </Tile>
  )
}

function Lamp() {
  const is = text('kitchen/lamp/state')
  const brightness = text('kitchen/lamp/brightness')
  const asked = useSignal<string | undefined>(undefined)
  if (asked.value === is) asked.value = undefined
  const on = (asked.value ?? is) === 'on'
  return (
    <Tile title="Kitchen lamp" device="kitchen/lamp" topic="kitchen/lamp/status">
      <div class="lamp-row">
        <svg class={is === 'on' ? 'bulb on' : 'bulb'} viewBox="0 0 48 60" aria-hidden="true">
          <circle cx="24" cy="22" r="17" />
          <path d="M18 38h12v8a6 6 0 01-12 0z" />
        </svg>
        <label class="switch">
          <input
            type="checkbox"
            role="switch"
            checked={on}
            onChange={({ currentTarget }) => {
              asked.value = currentTarget.checked ? 'on' : 'off'
              command('kitchen/lamp/set', asked.value)
            }}
          />
          <span>
            Light {is ?? 'unknown'}
            {asked.value !== undefined && <span class="muted"> asked for {asked.value}…</span>}
          </span>
        </label>
      </div>
      <Slider
        label="Brightness"
        unit="%"
        topic="kitchen/lamp/brightness/set"
        value={brightness === undefined ? undefined : +brightness}
        low={1}
        high={100}
        step={1}
      />
    </Tile>
  )
}

function Garage() {
  const position = text('garage/door/position')
  const is = presence.value['garage/door']
  const open = position === undefined ? undefined : +position
  return (
    <Tile title="Garage door" device="garage/door" topic="garage/door/position">
      <div class="door-row">
        <svg
          class="door"
          viewBox="0 0 120 84"
          role="img"
          aria-label={open === undefined ? 'Position unknown' : `${open} % open`}
        >
          <path class="frame" d="M6 84V24L60 6l54 18v60" />
          <clipPath id="opening">
            <rect x="16" y="33" width="88" height="51" />
          </clipPath>
          <g clip-path="url(#opening)">
            <g class="leaf" style={{ transform: `translateY(${-0.48 * (open ?? 0)}px)` }}>
              {[0, 1, 2, 3].map((at) => (
                <rect key={at} x="20" y={33 + at * 13} width="80" height="11" rx="2" />
              ))}
            </g>
          </g>
          <path class="lintel" d="M7 25L60 7l53 18v8H7z" />
        </svg>
        <div class="door-side">
          <b>
            {open === undefined
              ? '–'
              : open === 0
                ? 'closed'
                : open === 100
                  ? 'open'
                  : `${open} % open`}
          </b>
          <div class="buttons">
            {['open', 'stop', 'close'].map((what) => (
              <button type="button" key={what} onClick={() => command('garage/door/set', what)}>
                {what[0]?.toUpperCase() + what.slice(1)}
              </button>
            ))}
          </div>
        </div>
      </div>
      <p class="muted small-text">
        {is && !is.online
          ? is.lost
            ? `Its last will arrived at ${seconds(is.at)}. Nobody said goodbye.`
            : 'It was gone before this page was opened.'
          : 'This device crashes now and then: the broker then publishes its last will.'}
      </p>
    </Tile>
  )
}

function Events() {
  return (
    <section class="tile events" aria-label="Events">
      <header>
        <h2>Events</h2>
      </header>
      <div role="log" aria-live="polite" aria-label="What has happened">
        <ol>
          {events.value.length === 0 && (
            <li class="muted">
              Nothing has happened yet. When a device is lost or comes back, it stands here.
            </li>
          )}
          {events.value.map(({ id, at, text, bad }) => (
            <li key={id} class={bad ? 'bad' : 'good'}>
              <span class="mono muted">{seconds(at)}</span> <bdi>{text}</bdi>
            </li>
          ))}
        </ol>
      </div>
    </section>
  )
}

function Head() {
  const is = state.value
  const devices = Object.values(presence.value)
  const online = devices.filter((device) => device.online).length
  const live = is === 'connected'
  const theme = useSignal<Theme>(storedTheme())
  useEffect(() => applyTheme(theme.value), [theme.value])
  const next = { system: 'light', light: 'dark', dark: 'system' } as const
  return (
    <header class="top house-head">
      <h1>
        <span class="logo" aria-hidden="true" />
        The house
      </h1>
      <div class="state" id="state" data-state={is === 'closed' ? 'failed' : is}>
        <span class="lamp" />
        <span role="status" id="state-text">
          {live
            ? 'Live'
            : is === 'connecting'
              ? 'Connecting…'
              : is === 'waiting'
                ? `No connection. ${reason.value}`
                : reason.value || 'Not connected'}
        </span>
      </div>
      {is === 'waiting' && (
        <button
          type="button"
          class="primary small"
          onClick={() => client.connect().catch(() => {})}
        >
          Try now
        </button>
      )}
      <span class="grow" />
      {devices.length > 0 && (
        <span class="muted devices-line">
          {live ? `${online} of ${devices.length} devices online` : 'state of the devices unknown'}
        </span>
      )}
      <a class="button small" href={`./#url=${encodeURIComponent(url)}`}>
        <Icon name="search" />
        Explorer
      </a>
      <button
        type="button"
        class="icon"
        aria-label={`Colours: ${theme.value}`}
        title={`Colours: ${theme.value}`}
        onClick={() => (theme.value = next[theme.value])}
      >
        <Icon name={theme.value === 'light' ? 'sun' : theme.value === 'dark' ? 'moon' : 'auto'} />
      </button>
    </header>
  )
}

function House() {
  const stale = staleSince.value
  return (
    <>
      <Head />
      <section class="notices" aria-label="Notices">
        {stale !== undefined && (
          <p class="notice stale" id="stale">
            <b>Not live.</b> The house as it was at {seconds(stale)}, last seen{' '}
            {ago(stale, Math.max(now.value, stale))}.
          </p>
        )}
      </section>
      <main class="house">
        {version.value === 0 && <p class="empty">Waiting for the first values…</p>}
        <Climate />
        <Meter />
        <Lamp />
        <Garage />
        <Weather />
        <Events />
      </main>
    </>
  )
}

render(<House />, document.getElementById('app') as HTMLElement)
