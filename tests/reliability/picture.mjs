// A picture of how values went over time: one chart for each, as SVG that needs nothing else.

const WIDTH = 720
const HEIGHT = 110
const LEFT = 60
const COLOURS = ['#1f6feb', '#bf3989', '#1a7f37']

/**
 * @param {string} title
 * @param {Record<string, { x: number, y: number }[]>} series Values by name; all begin at 0 on both axes.
 * @param {string} unit
 */
export function picture(title, series, unit) {
  const charts = Object.entries(series).map(([name, points], index) =>
    chart(name, points, unit, 40 + index * (HEIGHT + 40), COLOURS[index % COLOURS.length]),
  )
  const height = 30 + charts.length * (HEIGHT + 40)
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${LEFT + WIDTH + 20} ${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="#fff"/>
<text x="${LEFT}" y="18" font-size="14">${title}</text>
${charts.join('\n')}
</svg>
`
}

function chart(name, points, unit, top, colour) {
  const most = {
    x: Math.max(...points.map(({ x }) => x), 1),
    y: 1.15 * Math.max(...points.map(({ y }) => y), 0.1),
  }
  const place = ({ x, y }) =>
    `${(LEFT + (WIDTH * x) / most.x).toFixed(1)},${(top + HEIGHT * (1 - y / most.y)).toFixed(1)}`
  const bottom = top + HEIGHT
  return [
    `<text x="${LEFT}" y="${top - 6}">${name}: ${points.at(-1).y.toFixed(1)} ${unit} at the end</text>`,
    `<path d="M${LEFT} ${top}V${bottom}H${LEFT + WIDTH}" fill="none" stroke="#888"/>`,
    `<text x="${LEFT - 6}" y="${top + 10}" text-anchor="end">${most.y.toFixed(1)}</text>`,
    `<text x="${LEFT - 6}" y="${bottom}" text-anchor="end">0</text>`,
    `<text x="${LEFT + WIDTH}" y="${bottom + 14}" text-anchor="end">${(most.x / 60).toFixed(0)} min</text>`,
    `<polyline points="${points.map(place).join(' ')}" fill="none" stroke="${colour}" stroke-width="1.5"/>`,
  ].join('\n')
}
