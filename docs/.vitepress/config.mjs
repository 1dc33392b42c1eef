// The documentation site. `npm run docs` makes the reference beside the guides, and then builds everything into target/site.
import { existsSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitepress'

const docs = fileURLToPath(new URL('..', import.meta.url))
const root = join(docs, '..')
const SOURCE = 'https://github.com/wasmqtt/wasmqtt/blob/main/'

/**
 * Links to files of the repository outside this folder lead to GitHub. Throws where there is no such file, so that the build fails.
 * @param {import('markdown-it')} md
 */
function linkSources(md) {
  md.core.ruler.push('sources', ({ tokens, env }) => {
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      const href = token.type === 'link_open' ? (token.attrGet('href') ?? '') : ''
      const path = href.startsWith(SOURCE)
        ? join(root, href.slice(SOURCE.length).replace(/#.*/, ''))
        : /^\.\.?\//.test(href) && resolve(dirname(env.path), href.replace(/#.*/, ''))
      if (!path || (path.startsWith(docs) && !href.startsWith(SOURCE))) continue
      if (!existsSync(path)) throw new Error(`${env.path} links to ${href}, which does not exist`)
      if (!href.startsWith(SOURCE)) token.attrSet('href', SOURCE + relative(root, path))
    }
  })
}

const pages = (base, items) =>
  items.map(([text, name]) => ({ text, link: name.startsWith('/') ? name : `/${base}/${name}` }))

/** The side bar of the reference: the entries one below the other, and not inside the main one. */
function referenceSidebar() {
  const path = join(docs, 'reference', 'typedoc-sidebar.json')
  if (!existsSync(path)) return []
  const [main] = JSON.parse(readFileSync(path, 'utf8'))
  const isEntry = ({ link }) => link !== undefined
  const entries = ['slim', 'stores', 'testing', 'mqttjs', 'paho'].map((name) => {
    const found = main.items.find((item) => isEntry(item) && item.text === name)
    if (found === undefined) throw new Error(`The reference has no entry wasmqtt/${name}`)
    return { ...found, text: `wasmqtt/${name}` }
  })
  const items = main.items.filter((item) => !isEntry(item))
  return [{ ...main, items, collapsed: false }, ...entries]
}

/** Pages with tables that need the room of the outline. */
const WIDE = ['brokers.md', 'comparison.md']

/** Takes all the room there is beside the side bars, and lets tables be read on a telephone. */
const STYLE = `
@media (min-width: 1440px) {
  .VPDoc.has-aside .content-container { max-width: 784px !important }
  .VPDoc:not(.has-aside) .content { max-width: 1104px !important }
}
.vp-doc :is(th, td) { padding: 6px 10px }
@media (max-width: 640px) {
  .vp-doc :is(th, td) { padding: 6px 8px; font-size: 13px; line-height: 20px }
  .vp-doc :is(th, td) code { font-size: 12px; padding: 2px 4px }
  .vp-doc td:not(:first-child) code { overflow-wrap: anywhere }
}
`

export default defineConfig({
  title: 'wasmqtt',
  description: 'An MQTT 5.0 and 3.1.1 client for browsers and Node',
  base: process.env.DOCS_BASE ?? '/',
  outDir: join(root, 'target', 'site'),
  cacheDir: join(root, 'target', 'vitepress'),
  cleanUrls: false,
  markdown: { config: linkSources },
  head: [['style', {}, STYLE]],
  transformPageData({ relativePath, frontmatter }) {
    if (WIDE.includes(relativePath)) frontmatter.aside = false
  },
  themeConfig: {
    search: { provider: 'local' },
    nav: [
      { text: 'Guide', link: '/guide/connect' },
      { text: 'Recipes', link: '/recipes/react' },
      { text: 'Options', link: '/options' },
      { text: 'Reference', link: '/reference/' },
    ],
    sidebar: {
      '/reference/': referenceSidebar(),
      '/': [
        {
          text: 'Guide',
          items: pages('guide', [
            ['Start', '/'],
            ['Connect', 'connect'],
            ['Subscribe', 'subscribe'],
            ['Publish', 'publish'],
            ['Will and presence', 'presence'],
            ['Sessions and offline', 'offline'],
            ['Live values', 'live-values'],
            ['Request and response', 'request-response'],
            ['Security', 'security'],
            ['Workers', 'workers'],
            ['Testing', 'testing'],
            ['Your own dashboard', '/your-own-dashboard'],
          ]),
        },
        {
          text: 'Coming from',
          items: pages('', [
            ['MQTT.js', '/migrating-from-mqttjs'],
            ['Paho', '/migrating-from-paho'],
          ]),
        },
        {
          text: 'Recipes',
          items: pages('recipes', [
            ['React', 'react'],
            ['Vue', 'vue'],
            ['Svelte', 'svelte'],
            ['Angular', 'angular'],
            ['AWS IoT and signed URLs', 'aws-iot'],
            ['Fresh tokens', 'tokens'],
            ['Corporate proxy', 'proxy'],
            ['Home Assistant', 'home-assistant'],
            ['Electron', 'electron'],
            ['Service worker', 'service-worker'],
            ['Two brokers in sync', 'two-brokers'],
          ]),
        },
        {
          text: 'Facts',
          items: pages('', [
            ['Options', '/options'],
            ['Where it works', '/runtimes'],
            ['Brokers', '/brokers'],
            ['Bad networks and clusters', '/reliability'],
            ['Beside other clients', '/comparison'],
            ['Command line', '/command-line'],
          ]),
        },
      ],
    },
    socialLinks: [{ icon: 'github', link: 'https://github.com/wasmqtt/wasmqtt' }],
  },
})
