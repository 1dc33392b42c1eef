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

const reference = join(docs, 'reference', 'typedoc-sidebar.json')

export default defineConfig({
  title: 'wasmqtt',
  description: 'An MQTT 5.0 and 3.1.1 client for browsers and Node',
  base: process.env.DOCS_BASE ?? '/',
  outDir: join(root, 'target', 'site'),
  cacheDir: join(root, 'target', 'vitepress'),
  cleanUrls: false,
  markdown: { config: linkSources },
  themeConfig: {
    search: { provider: 'local' },
    nav: [
      { text: 'Guide', link: '/guide/connect' },
      { text: 'Recipes', link: '/recipes/react' },
      { text: 'Options', link: '/options' },
      { text: 'Reference', link: '/reference/' },
    ],
    sidebar: {
      '/reference/': existsSync(reference) ? JSON.parse(readFileSync(reference, 'utf8')) : [],
      '/': [
        {
          text: 'Guide',
          items: pages('guide', [
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
            ['From MQTT.js', '/migrating-from-mqttjs'],
            ['From Paho', '/migrating-from-paho'],
          ]),
        },
      ],
    },
    socialLinks: [{ icon: 'github', link: 'https://github.com/wasmqtt/wasmqtt' }],
  },
})
