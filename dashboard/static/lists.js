// Draws the table of versions and the strip of events; must not know how they were found.
// SPDX-License-Identifier: Apache-2.0

import { byId, bytes, clock, code, count, decimal, el, length, lesson, write } from './format.js';

const HEAD = ['Version', 'Age', 'Kind', 'Rows', 'Bytes', 'Samples', 'AUC', 'Gate', 'Served by'];
const STEADY = 5;

export function versions(memory) {
  const { t, replicas = [] } = memory.tick;
  const rows = [...memory.versions.values()].sort((a, b) => b.version - a.version);
  const box = byId('versions');
  write(byId('versions-note'), rows.length ? `${count(rows[0].version)} so far` : '');
  if (!rows.length) {
    if (!box.querySelector('.lesson')) {
      box.replaceChildren(lesson('No version yet. ', code('springtide learn pipeline.yaml'),
        ' commits the first one after the first samples, and an empty one every 10 s while there are none.'));
    }
    return;
  }
  const served = new Map();
  for (const replica of replicas) if (replica.up) served.set(replica.version, [...(served.get(replica.version) ?? []), replica.name]);
  box.replaceChildren(el('table', {},
    el('thead', {}, el('tr', {}, HEAD.map((text, index) => el('th', { scope: 'col', class: number(index) }, text)))),
    el('tbody', {}, rows.map((row) => line(row, t, served.get(row.version) ?? [])))));
}

const number = (index) => (index >= 3 && index <= 6 ? 'num' : null);

function line(row, t, served) {
  const empty = row.kind === 'heartbeat' || row.kind === 'claim';
  const gate = row.servable ? ['ok', 'servable'] : empty ? ['idle', 'nothing to serve'] : ['bad', `refused: ${row.reasons.join('; ') || 'no reason given'}`];
  const cells = [`v${count(row.version)}`, length(t - row.committed_ts), row.kind, count(row.rows), bytes(row.bytes), count(row.samples), decimal(row.auc)];
  return el('tr', { class: served.length ? 'served' : null },
    cells.map((text, index) => el(index ? 'td' : 'th', { class: number(index), scope: index ? null : 'row' }, text)),
    el('td', {}, el('span', { class: 'verdict', 'data-kind': gate[0] }, el('span', { class: 'shape', 'aria-hidden': 'true' }), gate[1])),
    el('td', {}, served.join(', ') || '–'));
}

const KINDS = { down: 'bad', refused: 'bad', behind: 'bad', revert: 'warn', claim: 'warn', up: 'ok', page: 'idle' };

export function events(memory) {
  const list = [...memory.events.values()].sort((a, b) => b.id - a.id);
  const box = byId('events');
  const shown = list.map((event) => event.id).join();
  if (box.dataset.shown === shown && list.length) return;
  box.dataset.shown = shown;
  if (!list.length) {
    box.replaceChildren(el('li', { class: 'lesson' }, 'Nothing has happened yet: restarts, take-overs, refused versions and lost replicas are noted here and marked in every chart.'));
    return;
  }
  box.replaceChildren(...list.slice(0, 40).map((event) => el('li', { 'data-kind': KINDS[event.kind] ?? 'idle' },
    el('time', { datetime: new Date(event.t).toISOString() }, clock(event.t)),
    el('span', { class: 'shape', 'aria-hidden': 'true' }), el('span', {}, event.text))));
}

/** Ages are drawn again every few seconds only; the table would never rest otherwise. */
export const due = (ticks) => ticks % STEADY === 0;
