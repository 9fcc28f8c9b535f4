// Opens the newest dead letters: why they are none, where they lie, their bytes masked; must not show what was written.
// SPDX-License-Identifier: Apache-2.0

import { byId, clock, code, count, el, redraw, write } from './format.js';
import { at } from './models.js';

const REASONS = {
  malformed: 'not of the declared format',
  no_key: 'without a join key',
  no_time: 'without a time of the declared unit',
  future: 'its time lies ahead of the clock',
  no_value: 'without a value',
};

let letters = null;
let of = null;
let asking = false;

export function dead({ dead: d }) {
  if (!d) return;
  const box = byId('dead');
  box.hidden = !d.kept;
  if (!d.kept) return;
  write(box.querySelector('summary'), `Dead letters: the newest ${count(d.kept)}, last at ${clock(d.newest_ts)}`);
  if (!box.open || asking || of === d.newest_ts) return;
  asking = true;
  read(d.newest_ts).catch((error) => console.warn('dead letters could not be read', error)).finally(() => { asking = false; });
}

/** Draws at once when the list is opened, not with the next tick. */
export const prepare = (memory) => byId('dead').addEventListener('toggle', () => dead(memory.tick));

async function read(newest) {
  const reply = await fetch(at('/api/dead'));
  if (!reply.ok) throw new Error(`/api/dead answered ${reply.status}`);
  letters = (await reply.json()).letters;
  of = newest;
  redraw(byId('letters'), letters, () => letters.map(letter));
}

function letter({ t, reason, topic, partition, offset, bytes, body }) {
  return el('li', {}, el('details', {},
    el('summary', {}, el('time', { datetime: new Date(t).toISOString() }, clock(t)), ' ', el('b', {}, reason), ` ${topic}[${partition ?? '?'}] at ${offset ?? '?'}`),
    el('p', {}, `This message is ${REASONS[reason] ?? 'no event'}. ${count(bytes)} bytes; letters are shown as x, digits as 9:`),
    body ? el('pre', {}, body) : el('p', {}, bytes ? 'They are no text.' : 'It has none.'),
    el('p', {}, 'As they are: ', code(`springtide late list pipeline.yaml --reason ${reason}`))));
}
