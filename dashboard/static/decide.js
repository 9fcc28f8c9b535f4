// Asks who decides, why, and for the token, and sends the wish; must not know what becomes of it.
// SPDX-License-Identifier: Apache-2.0

import { byId, count, el, said, write } from './format.js';
import { at } from './models.js';

const KEPT = 'springtide-who';
const ACTIONS = {
  pin: {
    name: 'Pin', title: (version) => (version ? `Pin replicas to version ${count(version)}` : 'Pin replicas to a version'),
    what: 'Every replica answers from this version until somebody resumes. Learning goes on.',
    done: 'Replicas switch within a second.',
  },
  promote: {
    name: 'Promote', title: (version) => `Promote version ${count(version)}`,
    what: 'The gate refused this version. Promoted, it may answer all the same.',
    done: 'Replicas may answer from it.',
  },
  resume: {
    name: 'Resume', title: () => 'Resume',
    what: 'Ends the pin, and the pause of learning, whichever holds.',
    done: 'Replicas follow the newest servable version again.',
  },
};

let action = null;
// Kept until the tab is loaded anew, and nowhere else.
let token = '';

/** Opens the dialog for `pin`, `promote` or `resume`; `version` null: of a pin, the person types one. */
export function ask(wanted, version) {
  action = wanted;
  const { name, title, what } = ACTIONS[wanted];
  const form = byId('decide-form');
  write(byId('decide-title'), title(version));
  write(byId('decide-what'), what);
  write(byId('decide-send'), name);
  write(byId('decide-error'), '');
  form.version.value = version ?? '';
  form.version.required = wanted !== 'resume';
  form.version.readOnly = version != null;
  form.version.closest('label').hidden = wanted === 'resume';
  form.token.value = token;
  form.who.value = form.who.value || remembered();
  form.why.value = '';
  byId('decide').showModal();
  (version == null && wanted === 'pin' ? form.version : token ? form.why : form.token).focus();
}

/** Makes the dialog work; once. */
export function prepare() {
  const form = byId('decide-form');
  byId('decide-cancel').addEventListener('click', () => byId('decide').close());
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    byId('decide-send').disabled = true;
    try {
      await send(form);
    } catch (error) {
      byId('decide-error').replaceChildren(...said(error.message));
    } finally {
      byId('decide-send').disabled = false;
    }
  });
}

async function send(form) {
  const wish = { action, version: action === 'resume' ? null : Number(form.version.value), who: form.who.value, why: form.why.value };
  let reply;
  try {
    reply = await fetch(at('/api/decide'), {
      method: 'POST', body: JSON.stringify(wish),
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${form.token.value}` },
    });
  } catch {
    throw new Error('The page\'s server does not answer, or the token holds letters that cannot be sent.');
  }
  const answer = await reply.json();
  if (!reply.ok) throw new Error(answer.error ?? `The server answered ${reply.status}.`);
  token = form.token.value;
  try { localStorage.setItem(KEPT, form.who.value); } catch { /* a private window keeps nothing */ }
  byId('decide').close();
  const entries = answer.decided;
  byId('decide-said').replaceChildren(el('span', {}, entries.length
    ? `Entered as decision ${entries.join(' and ')}. ${ACTIONS[wish.action].done}` : 'Nothing was pinned or paused.'));
}

const remembered = () => { try { return localStorage.getItem(KEPT) ?? ''; } catch { return ''; } };
