// Draws each replica's last minutes and its version; must not know how behind is measured.
// SPDX-License-Identifier: Apache-2.0

import { age } from './memory.js';
import { colour } from './charts.js';
import { marks } from './events.js';
import { byId, clock, code, count, el, length, lesson, NONE, shape, twin, write } from './format.js';

const CELLS = 60;
// Beyond so many replicas their rows are low and stand side by side.
const MANY = 8;

export function replicas(memory) {
  const { t, about, replicas: list = [] } = memory.tick;
  const box = byId('replicas');
  write(byId('replicas-note'), list.length ? `${span(memory.minutes)}, height and colour against the SLO` : '');
  if (!about) return;
  if (!list.length) {
    if (!box.querySelector('.lesson')) {
      box.replaceChildren(lesson('No replica is listed. Start one with ', code('springtide serve pipeline.yaml'),
        ' and add its address under ', code('dashboard.targets.replicas'), '. Until then the headline is that of the newest committed version.'));
    }
    return;
  }
  if (box.childElementCount !== list.length || box.querySelector('.lesson')) {
    box.replaceChildren(...list.map(() => el('div', { class: 'replica' },
      el('span', { class: 'who' }, shape(), el('b')),
      el('canvas', { role: 'img' }), el('span', { class: 'ver' }), el('span', { class: 'lag' }))));
  }
  box.classList.toggle('many', list.length > MANY);
  const happened = marks(memory);
  list.forEach((replica, index) => paint(box.children[index], replica, memory, t, about, happened));
  twin(byId('replicas-table'), ['Replica', 'State', 'Version', 'Applied', 'Behind', `Worst in ${span(memory.minutes)}`], () =>
    list.map((r) => [r.name, state(r), r.version == null ? NONE : `v${count(r.version)}`, r.applied_ts ? clock(r.applied_ts) : NONE,
      r.known ? length(age(t, r.oldest_received_ts)) : NONE, length(1000 * Math.max(0, ...memory.cells(`behind:${r.name}`, CELLS)))]));
}

const span = (minutes) => (minutes < 60 ? `${minutes} min` : minutes < 1440 ? `${minutes / 60} h` : minutes === 1440 ? '24 h' : `${minutes / 1440} d`);
const state = (r) => (r.up ? (r.ready ? 'ready' : 'not ready') : `no answer since ${clock(r.since_ts)}`);

function paint(row, replica, memory, t, about, happened) {
  const behind = replica.known ? age(t, replica.oldest_received_ts) : null;
  const late = behind != null && behind > about.slo_ms && !memory.tick.headline.idle;
  row.dataset.kind = !replica.up || late ? 'bad' : replica.ready ? 'ok' : 'warn';
  write(row.querySelector('b'), replica.name);
  write(row.querySelector('.ver'), replica.version == null ? 'no version' : `v${count(replica.version)}`);
  write(row.querySelector('.lag'), replica.up ? (memory.tick.headline.idle ? 'idle' : length(behind)) : `down since ${clock(replica.since_ts)}`);
  const cells = memory.cells(`behind:${replica.name}`, CELLS);
  const canvas = row.querySelector('canvas');
  canvas.setAttribute('aria-label', `${replica.name}: ${state(replica)}; now ${length(behind)} behind; worst ${length(1000 * Math.max(0, ...cells))}`);
  strip(canvas, cells, about.slo_ms / 1000, happened.map(({ t: at, tone }) => ({ at: 1 - (t - at) / memory.rangeMs, tone })));
}

/** One bar per cell: its height and colour are its share of the objective; a dash where nothing was measured. */
function strip(canvas, cells, slo, happened) {
  const ratio = devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width) return;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext('2d');
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const colours = { ok: colour('ok-fill'), warn: colour('warn-fill'), bad: colour('bad-fill'), none: colour('line') };
  const step = width / cells.length;
  cells.forEach((seconds, index) => {
    const left = Math.round(index * step);
    const wide = Math.max(1, Math.round((index + 1) * step) - left - 1);
    if (seconds == null) {
      pen.fillStyle = colours.none;
      pen.fillRect(left, height - 2, wide, 1);
      return;
    }
    const tall = 4 + (height - 4) * Math.min(1, seconds / slo);
    pen.fillStyle = seconds > slo ? colours.bad : seconds > slo / 2 ? colours.warn : colours.ok;
    pen.fillRect(left, height - tall, wide, tall);
  });
  for (const { at, tone } of happened) {
    if (at < 0) continue;
    pen.fillStyle = colour(tone);
    for (let top = 0; top < height; top += 4) pen.fillRect(Math.round(at * width), top, 1, 2);
  }
}
