// Plants small faults in the codec and the session, and says which of them no native test notices.
//
//   node scripts/mutants.mjs [COUNT] [SEED]    COUNT is 400 by default; needs `cargo install cargo-mutants`
//
// A mutant takes about 10 s. The list of those that no test noticed is in target/mutants/mutants.out/missed.txt.
import { join } from 'node:path'
import { capture, main, Problem, root, run } from './tools.mjs'

const FILES = ['-f', 'src/codec/**', '-f', 'src/session/**']
// For the build as well as for the run, so that other tests are not built each time.
const TESTS = [
  '--lib',
  ...['codec', 'fuzz_corpus', 'memory', 'session', 'simulation'].map((name) => `--test=${name}`),
].map((arg) => `--cargo-arg=${arg}`)

main(async () => {
  const [count = '400', seed = `${Date.now() % 1e9}`] = process.argv.slice(2)
  const listed = capture('cargo', ['mutants', '--list', ...FILES])
  if (!listed)
    throw new Problem('cargo-mutants is missing. Install it with `cargo install cargo-mutants`.')
  const all = listed.split('\n')
  const chosen = sample(all, Number(count), Number(seed))
  console.log(`${chosen.length} of ${all.length} mutants, seed ${seed}`)
  const pattern = chosen.map((name) => name.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')).join('|')
  const out = join(root, 'target', 'mutants')
  const cargo = [
    'cargo',
    'mutants',
    ...FILES,
    '--re',
    `^(${pattern})$`,
    '--minimum-test-timeout',
    '60',
    '--output',
    out,
    ...TESTS,
  ]
  // With a limit of memory, so that a mutant that allocates for ever ends by itself.
  const done = run('sh', ['-c', 'ulimit -v 8000000; exec "$@"', 'sh', ...cargo], {
    env: {
      SEEDS: '2000',
      CARGO_INCREMENTAL: '1',
      CARGO_PROFILE_TEST_DEBUG: '0',
      CARGO_PROFILE_DEV_DEBUG: '0',
    },
  })
  // cargo-mutants has printed which were missed, and fails if there are some.
  await done.catch(() => (process.exitCode = 1))
})

/** Picks `count` of the lines at random, as the seed decides (xorshift32). */
function sample(lines, count, seed) {
  let state = seed >>> 0 || 1
  const below = (n) => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) % n
  }
  const rest = [...lines]
  return Array.from(
    { length: Math.min(count, lines.length) },
    () => rest.splice(below(rest.length), 1)[0],
  )
}
