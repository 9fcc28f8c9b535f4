// Joins contact, memory and panels into the page; must not draw anything itself.
// SPDX-License-Identifier: Apache-2.0

import { dead, prepare as prepareDead } from './dead.js';
import { prepare as prepareDecisions } from './decide.js';
import { events } from './events.js';
import { join, rates } from './flow.js';
import { byId, clock, el } from './format.js';
import { course, header, headline, processes } from './hero.js';
import { connect } from './live.js';
import { Memory, RANGES } from './memory.js';
import { models } from './models.js';
import { quality } from './quality.js';
import { replicas } from './replicas.js';
import { slices } from './slices.js';
import { storage, tables } from './storage.js';
import { versions } from './versions.js';
import { waterfall } from './waterfall.js';

const memory = new Memory();

function draw() {
  if (document.hidden || memory.tick.t == null) return;
  header(memory.tick);
  models(memory.tick);
  headline(memory.tick);
  processes(memory.tick);
  waterfall(memory.tick);
  replicas(memory);
  join(memory.tick);
  dead(memory.tick);
  versions(memory);
  events(memory);
  course(memory);
  quality(memory);
  rates(memory);
  slices(memory.tick);
  storage(memory.tick);
  tables(memory.tick);
  document.body.dataset.tick = memory.tick.t; // for whoever measures how late the page is
}

async function reload() {
  try {
    await memory.load();
    draw();
  } catch (error) {
    console.warn('the past could not be read; the page goes on with what is live', error);
  }
}

function ranges() {
  const box = byId('ranges');
  const mark = (range, button) => {
    memory.minutes = range.minutes;
    for (const other of box.children) {
      const chosen = other === button;
      other.setAttribute('aria-checked', String(chosen));
      other.tabIndex = chosen ? 0 : -1;
    }
  };
  const choose = (range, button) => {
    mark(range, button);
    reload();
  };
  for (const range of RANGES) {
    const button = el('button', { type: 'button', role: 'radio' }, range.name);
    button.addEventListener('click', () => choose(range, button));
    box.append(button);
  }
  box.addEventListener('keydown', (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = (RANGES.findIndex((range) => range.minutes === memory.minutes) + step + RANGES.length) % RANGES.length;
    box.children[at].focus();
    choose(RANGES[at], box.children[at]);
  });
  mark(RANGES[0], box.children[0]);
}

addEventListener('themechange', draw);
document.addEventListener('visibilitychange', draw);

prepareDecisions();
prepareDead(memory);
ranges();
connect({
  onTick(sections) {
    memory.take(sections);
    draw();
    if (memory.stale) reload();
  },
  onLost(since) {
    document.body.classList.add('no-contact');
    byId('lost').textContent = `no contact since ${clock(since)} · the figures are those of that moment · trying again`;
    byId('lost').hidden = false;
  },
  // The past is read once ticks come: read before, what a tick said in between would be in neither.
  onContact() {
    document.body.classList.remove('no-contact');
    byId('lost').hidden = true;
    reload();
  },
});
