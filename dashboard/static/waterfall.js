// Draws one version's way from Kafka into a replica, stage by stage; must not know where it was timed.
// SPDX-License-Identifier: Apache-2.0

import { byId, code, count, el, lesson, stage, twin, write } from './format.js';

const NAMES = ['event → sample', 'sample → trained', 'trained → committed', 'committed → applied'];
const TICKS = [0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];

export function waterfall({ waterfall: w, learner }) {
  const box = byId('waterfall');
  if (!w) {
    write(byId('waterfall-note'), '');
    if (!box.querySelector('.lesson')) {
      box.replaceChildren(lesson(learner ? 'No version with feedback has been applied yet. Send an impression and its click with '
        : 'No learner is listed under dashboard.targets. Once versions arrive, their way is drawn here. Try ', code('springtide probe'), '.'));
    }
    return;
  }
  const total = w.stages_ms.reduce((sum, ms) => sum + ms, 0);
  write(byId('waterfall-note'), `version ${count(w.version)} in ${w.replica} · ${stage(total)} in all`);
  const rows = [];
  let start = 0;
  w.stages_ms.forEach((ms, index) => {
    rows.push({ start, ms, p50: w.p50_ms?.[index], p99: w.p99_ms?.[index] });
    start += ms;
  });
  const end = Math.max(total, ...rows.map((row) => row.start + (row.p99 ?? 0)), 100);
  const step = TICKS.find((tick) => end / 1000 / tick <= 6) ?? end / 6000;
  const most = Math.ceil(end / 1000 / step - 1e-9) * step * 1000;
  if (box.childElementCount !== rows.length + 1) build(box, rows.length);
  rows.forEach((row, index) => paint(box.children[index], row, most, index));
  axis(box.lastElementChild, most, step);
  twin(byId('waterfall-table'), ['Stage', `Version ${count(w.version)}`, 'p50, last minute', 'p99, last minute'],
    () => [...rows.map((row, index) => [NAMES[index], stage(row.ms), stage(row.p50), stage(row.p99)]), ['all', stage(total), '', '']]);
}

function build(box, rows) {
  box.replaceChildren(...Array.from({ length: rows }, (_, index) => el('div', { class: 'row' },
    el('span', { class: 'name' }, NAMES[index]),
    el('span', { class: 'track', 'aria-hidden': 'true' }, el('i', { class: 'bar' }), el('i', { class: 'whisker' }), el('i', { class: 'median' })),
    el('span', { class: 'value' }), el('span', { class: 'spread' }))), el('div', { class: 'axis', 'aria-hidden': 'true' }));
}

function paint(element, { start, ms, p50, p99 }, most) {
  const [bar, whisker, median] = element.querySelector('.track').children;
  const at = (value) => `${(100 * value) / most}%`;
  bar.style.left = at(start);
  bar.style.width = at(ms);
  whisker.hidden = median.hidden = p99 == null;
  if (p99 != null) {
    whisker.style.left = at(start + Math.min(p50, p99));
    whisker.style.width = at(Math.max(0, p99 - p50));
    median.style.left = at(start + p50);
  }
  write(element.querySelector('.value'), stage(ms));
  write(element.querySelector('.spread'), p99 == null ? '' : `p50 ${(p50 / 1000).toFixed(2)} · p99 ${(p99 / 1000).toFixed(2)}`);
}

function axis(element, most, step) {
  const shown = `${most}/${step}`;
  if (element.dataset.shown === shown) return;
  element.dataset.shown = shown;
  const track = el('span', { class: 'ticks' });
  for (let at = 0; at <= most + 1; at += step * 1000) {
    const tick = el('i', {}, `${+(at / 1000).toFixed(2)} s`);
    tick.style.left = `${(100 * at) / most}%`;
    track.append(tick);
  }
  element.replaceChildren(track);
}
