// Draws the table of versions: what the gate said, who serves them, what may be decided; must not send a decision.
// SPDX-License-Identifier: Apache-2.0

import { ask } from './decide.js';
import { byId, bytes, clock, code, count, decimal, el, length, lesson, redraw, said, shape, write } from './format.js';

const HEAD = ['Version', 'Age', 'Rows', 'Bytes', 'Samples', 'AUC', 'Gate', 'Served by'];
const NUMBERS = [2, 3, 4, 5];
const GATE = 6;
const SERVED = 7;
// Of more replicas than this the names are in the replicas' own table.
const NAMED = 3;
const lines = new Map();

export function versions(memory) {
  const { t, about, decisions, replicas = [] } = memory.tick;
  const rows = [...memory.versions.values()].sort((a, b) => b.version - a.version);
  write(byId('versions-note'), rows.length ? `${count(rows[0].version)} so far` : '');
  holds(about, decisions);
  const box = byId('versions');
  if (!rows.length) {
    lines.clear();
    redraw(box, 'none', () => lesson('No version yet. ', code('springtide learn pipeline.yaml'),
      ' commits the first one after the first samples, and an empty one every 10 s while there are none.'));
    return;
  }
  redraw(box, ['table', about.may_decide], () => table(about.may_decide));
  const body = box.querySelector('tbody');
  if (!held(box)) arrange(body, rows, about);
  const served = new Map();
  for (const replica of replicas) if (replica.up) served.set(replica.version, [...(served.get(replica.version) ?? []), replica.name]);
  const known = new Map(rows.map((row) => [row.version, row]));
  for (const [version, line] of lines) {
    line.row = known.get(version) ?? line.row;
    fill(line, t, served.get(version) ?? [], decisions);
  }
}

function table(mayDecide) {
  lines.clear();
  const head = mayDecide ? [...HEAD, 'Decide'] : HEAD;
  return el('table', {}, el('thead', {}, el('tr', {}, head.map((text, index) =>
    el('th', { scope: 'col', class: NUMBERS.includes(index) ? 'num' : null }, text)))), el('tbody'));
}

/** Rows rest while somebody points at them or has tabbed into them: a button must not move away under a finger. */
const held = (box) => lines.size > 0 && ((matchMedia('(hover: hover)').matches && box.matches(':hover')) || box.contains(document.activeElement));

function arrange(body, rows, about) {
  const wanted = new Set(rows.map((row) => row.version));
  for (const [version, line] of lines) {
    if (wanted.has(version)) continue;
    line.element.remove();
    lines.delete(version);
  }
  rows.forEach((row, index) => {
    if (!lines.has(row.version)) lines.set(row.version, line(row, about));
    const { element } = lines.get(row.version);
    if (body.children[index] !== element) body.insertBefore(element, body.children[index] ?? null);
  });
}

function line(row, about) {
  const element = el('tr', {}, HEAD.map((_, index) => el(index ? 'td' : 'th', { scope: index ? null : 'row', class: NUMBERS.includes(index) ? 'num' : null })));
  element.children[GATE].append(el('span', { class: 'verdict' }, shape(), el('span')));
  const made = { row, element, buttons: {} };
  if (about.may_decide) {
    const cell = el('td', { class: 'decide' });
    for (const action of ['pin', 'promote']) {
      const name = action === 'pin' ? 'Pin' : 'Promote';
      const button = el('button', { type: 'button', class: 'small', 'aria-label': `${name} version ${count(row.version)}` }, name);
      button.addEventListener('click', () => ask(action, row.version));
      made.buttons[action] = button;
      cell.append(button);
    }
    element.append(cell);
  }
  return made;
}

function fill({ row, element, buttons }, t, served, decisions) {
  const cells = element.children;
  const texts = [`v${count(row.version)}`, length(t - row.committed_ts), count(row.rows), bytes(row.bytes), count(row.samples), decimal(row.auc)];
  texts.forEach((text, index) => write(cells[index], text));
  const [kind, text] = gate(row, decisions);
  const verdict = cells[GATE].firstElementChild;
  verdict.dataset.kind = kind;
  write(verdict.lastElementChild, text);
  write(cells[SERVED], served.length > NAMED ? `${served.length} replicas` : served.join(', ') || '–');
  element.classList.toggle('served', served.length > 0);
  if (!buttons.pin) return;
  const pinned = decisions?.pin?.version === row.version;
  buttons.pin.hidden = !may(row, decisions);
  buttons.pin.disabled = pinned;
  write(buttons.pin, pinned ? 'Pinned' : 'Pin');
  buttons.promote.hidden = row.kind !== 'delta' || may(row, decisions);
}

const promoted = (row, decisions) => Boolean(decisions?.promoted.includes(row.version));
const may = (row, decisions) => row.kind === 'delta' && (row.servable || promoted(row, decisions));

function gate(row, decisions) {
  if (row.kind !== 'delta') return ['idle', `${row.kind}: nothing to serve`];
  if (row.servable) return ['ok', 'servable'];
  const reasons = row.reasons.join('; ') || 'no reason given';
  return promoted(row, decisions) ? ['warn', `promoted, though refused: ${reasons}`] : ['bad', `refused: ${reasons}`];
}

/** What people decided and still holds, and the way to end it; or how one could decide. */
function holds(about, decisions) {
  const box = byId('holds');
  if (!about || !decisions) return;
  redraw(box, [about.may_decide, decisions.pin, decisions.pause], () => {
    const found = [];
    const { pin, pause } = decisions;
    const by = (entry) => ` by ${entry.who} since ${clock(entry.since_ts)}${entry.why ? `: ${entry.why}` : ''}`;
    if (pin) found.push(el('p', { 'data-kind': 'warn' }, shape(), el('span', {}, `Replicas are pinned to version ${count(pin.version)}${by(pin)}`)));
    if (pause) found.push(el('p', { 'data-kind': 'warn' }, shape(), el('span', {}, `Learning is paused${by(pause)}`)));
    if (!about.may_decide) {
      found.push(el('p', { class: 'note' }, said('To decide here, set `dashboard.token`. From a shell: `springtide rollback`, `promote`, `resume`.')));
      return found;
    }
    const button = (action, name) => {
      const made = el('button', { type: 'button', class: 'small' }, name);
      made.addEventListener('click', () => ask(action, null));
      return made;
    };
    found.push(el('p', { class: 'choices' }, pin || pause ? button('resume', 'Resume') : null, button('pin', 'Pin another version')));
    return found;
  });
}
