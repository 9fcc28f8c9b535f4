// Turns figures into words and elements; must not know where they come from.
// SPDX-License-Identifier: Apache-2.0

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });
const hms = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const hm = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const dayTime = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

export const NONE = '–';

/** A length of time as number and unit, e.g. ['1.3', 's'] or ['4 min', '12 s']. */
export function lengthParts(ms) {
  if (ms == null || !Number.isFinite(ms)) return [NONE, ''];
  const s = Math.max(0, ms) / 1000;
  if (s < 9.95) return [s.toFixed(1), 's'];
  if (s < 119.5) return [String(Math.round(s)), 's'];
  const minutes = Math.floor(s / 60);
  if (minutes < 60) return [`${minutes} min`, `${Math.floor(s % 60)} s`];
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return [`${hours} h`, `${minutes % 60} min`];
  return [`${Math.floor(hours / 24)} d`, `${hours % 24} h`];
}

/** A length of time in one string. */
export const length = (ms) => lengthParts(ms).join(' ').trim();

/** A stage of the road: two decimals, because stages are short. */
export const stage = (ms) => (ms == null ? NONE : ms < 9995 ? `${(ms / 1000).toFixed(2)} s` : length(ms));

export const count = (n) => (n == null ? NONE : whole.format(n));
export const decimal = (x, places = 3) => (x == null ? NONE : x.toFixed(places));
export const percent = (x) => (x == null ? NONE : `${(100 * x).toFixed(x < 0.1 ? 1 : 0)} %`);
export const clock = (ts) => hms.format(ts);
export const rate = (x) => (x == null ? NONE : x < 10 ? x.toFixed(1).replace(/\.0$/, '') : whole.format(x));

/** A moment on an axis, as short as the range allows. */
export function moment(ts, rangeMs) {
  if (rangeMs > 86_400_000) return dayTime.format(ts);
  return (rangeMs > 1_800_000 || ts % 60_000 === 0 ? hm : hms).format(ts);
}

export function bytes(n) {
  if (n == null) return NONE;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; n >= 1024 && unit < 4; unit += 1) n /= 1024;
  return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children; text stays text. */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value != null && value !== false) element.setAttribute(key, value === true ? '' : value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

/** Writes text only where it differs, so that screen readers and the layout stay at rest. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A sentence for a panel without figures: says what is missing and what to do. */
export const lesson = (...children) => el('p', { class: 'lesson' }, ...children);
export const code = (text) => el('code', {}, text);

/** A sentence of the server; what stands between backticks is code. */
export const said = (text) => text.split('`').map((part, index) => (index % 2 ? code(part) : part));

/** One shape per kind, so that colour is never the only sign. */
export const shape = () => el('span', { class: 'shape', 'aria-hidden': 'true' });

/** A table whose first column names the row. `rows` gives arrays of strings or elements; `numbers` are columns of figures. */
export function table(head, rows, numbers = []) {
  const number = (index) => (numbers.includes(index) ? 'num' : null);
  return el('table', {},
    el('thead', {}, el('tr', {}, head.map((text, index) => el('th', { scope: 'col', class: number(index) }, text)))),
    el('tbody', {}, rows.map((cells) => el('tr', {}, cells.map((cell, index) =>
      el(index ? 'td' : 'th', { scope: index ? null : 'row', class: number(index) }, cell))))));
}

/** Puts what `make` gives into `box`, but only when `key` has changed: what is open or has the focus stays. */
export function redraw(box, key, make) {
  const shown = JSON.stringify(key);
  if (box.dataset.shown === shown) return;
  box.dataset.shown = shown;
  box.replaceChildren(...[make()].flat());
}

/** Figures side by side: `[[name, value, note], …]`. */
export function trio(list, figures) {
  const wanted = figures.map(([name, value, note]) => `${name}|${value}|${note ?? ''}`).join('\n');
  if (list.dataset.shown === wanted) return;
  list.dataset.shown = wanted;
  list.replaceChildren(...figures.map(([name, value, note]) =>
    el('div', {}, el('dt', {}, name), el('dd', {}, value), note ? el('dd', { class: 'note' }, note) : null)));
}

const twins = new WeakMap();

/** The table twin of a chart: drawn only while it is open. `rows` gives arrays of strings. */
export function twin(details, head, rows) {
  if (!twins.has(details)) details.addEventListener('toggle', () => twins.get(details)());
  const draw = () => {
    if (!details.open) return;
    const old = details.querySelector('.scroll');
    const title = details.closest('section').querySelector('h1, h2').textContent.trim();
    const drawn = table(head, rows());
    if (old) old.replaceChildren(drawn);
    else details.append(el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': `${title}, table` }, drawn));
  };
  twins.set(details, draw);
  draw();
}
