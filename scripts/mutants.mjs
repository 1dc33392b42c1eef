// Mutation testing: which small faults in the codec and the session would the native tests let pass?
//
//   node scripts/mutants.mjs [COUNT] [SEED]    400 mutants picked by a seed unless it says otherwise; needs `cargo install cargo-mutants`
//
// A mutant takes some 10 s; the list of those that no test noticed is in target/mutants/mutants.out/missed.txt.
import { join } from 'node:path'
import { capture, main, Problem, root, run } from './tools.mjs'

const FILES = ['-f', 'src/codec/**', '-f', 'src/session/**']
// For the build as well as for the run: the other tests need not be built each time.
const TESTS = [
  '--lib',
  ...['codec', 'fuzz_corpus', 'memory', 'session', 'simulation'].map((name) => `--test=${name}`),
].map((arg) => `--cargo-arg=${arg}`)

main(async () => {
  const [count = '400', seed = `${Date.now() % 1e9}`] = process.argv.slice(2)
  const listed = capture('cargo', ['mutants', '--list', ...FILES])
  if (!listed) throw new Problem('There is no cargo-mutants: cargo install cargo-mutants')
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
  // A mutant that allocates for ever ends by itself.
  const done = run('sh', ['-c', 'ulimit -v 8000000; exec "$@"', 'sh', ...cargo], {
    env: {
      SEEDS: '2000',
      CARGO_INCREMENTAL: '1',
      CARGO_PROFILE_TEST_DEBUG: '0',
      CARGO_PROFILE_DEV_DEBUG: '0',
    },
  })
  // It has said which were missed, and fails when there are some.
  await done.catch(() => (process.exitCode = 1))
})

/** So many of the lines, in the order of a shuffle that the seed decides (xorshift32). */
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
