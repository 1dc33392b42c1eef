#!/usr/bin/env node
/**
 * Where the time goes: the measured burst of each scenario under V8's profiler, in Node.
 *
 *   node benches/profile.mjs [--only TEXT]…
 *
 * Prints a table of shares of the time that was not idle, by whose function it was. Also what a client process loads to be profiled.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = process.env.WASMQTT_PROFILES;

/** In a client process: every burst begins a new profile, so that the last is what stays. */
function profiled() {
  const session = new Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.setSamplingInterval', { interval: 200 });
  const send = process.send.bind(process);
  let bursts = 0;
  let name;
  // A listener of our own would have the job handed over before the client listens.
  const emit = process.emit;
  process.emit = (event, message, ...rest) => {
    name ??= message?.job?.scenario.name;
    return emit.call(process, event, message, ...rest);
  };
  process.send = (message) => {
    if (message.burst) {
      if (bursts++) session.post('Profiler.stop');
      session.post('Profiler.start');
    } else if (bursts) {
      session.post('Profiler.stop', (error, { profile }) => {
        writeFileSync(join(folder, `${process.pid}.json`), JSON.stringify({ name, profile }));
        send(message);
      });
      return;
    }
    send(message);
  };
}

function main() {
  const profiles = mkdtempSync(join(tmpdir(), 'wasmqtt-'));
  const out = join(profiles, 'results');
  mkdirSync(out);
  const args = [join(import.meta.dirname, 'bench.mjs'), '--node', '--clients', 'wasmqtt', '--rounds', '1', '--out', out, ...process.argv.slice(2)];
  const env = { ...process.env, WASMQTT_PROFILES: profiles, NODE_OPTIONS: `--import ${import.meta.url}` };
  spawnSync(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  const groups = Object.keys(GROUPS);
  console.log(`| of the busy time, % | ${groups.join(' | ')} |\n|---|${'--:|'.repeat(groups.length)}`);
  const seen = new Set();
  const files = readdirSync(profiles).filter((file) => file.endsWith('.json'));
  for (const { name, profile } of files.map((file) => JSON.parse(readFileSync(join(profiles, file), 'utf8')))) {
    // The second of a scenario is the one without native masking.
    const shares = groups.map((group) => share(profile, GROUPS[group]).toFixed(0));
    console.log(`| ${name}${seen.has(name) ? ', without bufferutil' : ''} | ${shares.join(' | ')} |`);
    seen.add(name);
  }
  rmSync(profiles, { recursive: true });
}

const GROUPS = {
  'core (wasm)': ({ url, functionName }) => url.startsWith('wasm') || functionName.startsWith('wasm-'),
  'src/js and glue': ({ url }) => url.endsWith('/node.cjs'),
  ws: ({ url }) => /\/ws\/|bufferutil/.test(url),
  'Node: socket and streams': ({ url, functionName }) => url.startsWith('node:') || ['writeBuffer', 'writev', 'dispatch'].includes(functionName),
  'garbage collector': ({ functionName }) => functionName === '(garbage collector)',
  'benchmark and handlers': ({ url }) => /benches\//.test(url),
};

function share({ nodes, samples, timeDeltas }, belongs) {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  let own = 0;
  let busy = 0;
  samples.forEach((id, index) => {
    const frame = frames.get(id);
    if (frame.functionName === '(idle)') return;
    busy += timeDeltas[index];
    const group = Object.values(GROUPS).find((group) => group(frame));
    if (group === belongs) own += timeDeltas[index];
  });
  return (100 * own) / busy;
}

if (process.argv[1]?.endsWith('node-client.mjs')) profiled();
else if (!folder) main();
