// Draws the strip of events, and their marks for every chart; must not know how they were found.
// SPDX-License-Identifier: Apache-2.0

import { byId, clock, el, redraw, shape } from './format.js';

const KINDS = { down: 'bad', refused: 'bad', behind: 'bad', revert: 'warn', claim: 'warn', decision: 'warn', up: 'ok', page: 'idle' };
const SIGNS = { bad: '■', warn: '▲', ok: '●', idle: '○' };
const SHOWN = 40;

/** What happened, for a chart: `[{ t, text, tone, sign }]`. */
export const marks = (memory) => [...memory.events.values()].map(({ t, text, kind }) => {
  const tone = KINDS[kind] ?? 'idle';
  return { t, text, tone, sign: SIGNS[tone] };
});

export function events(memory) {
  const list = [...memory.events.values()].sort((a, b) => b.id - a.id).slice(0, SHOWN);
  redraw(byId('events'), list.map((event) => event.id), () => {
    if (!list.length) {
      return el('li', { class: 'lesson' },
        'Nothing has happened yet: restarts, take-overs, decisions, refused versions and lost replicas are noted here and marked in every chart.');
    }
    return list.map((event) => el('li', { 'data-kind': KINDS[event.kind] ?? 'idle' },
      el('time', { datetime: new Date(event.t).toISOString() }, clock(event.t)), shape(), el('span', {}, event.text)));
  });
}
