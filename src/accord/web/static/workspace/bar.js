// The bar above a task and the small tools below it.

import { html, hint, nothing } from './ui.js';

/** What is saved, in a few words. @param {import('./outbox.js').Outbox} outbox */
export function savedText(outbox) {
  const waiting = outbox.pending.length;
  if (outbox.link === 'signed-out') return `Signed out, ${waiting} kept here`;
  if (outbox.link === 'offline') return waiting ? `Offline, ${waiting} kept here` : 'Offline';
  if (outbox.refused.length) return `${outbox.refused.length} not taken`;
  return waiting ? `Saving ${waiting}…` : 'All saved';
}

function savedClass(outbox) {
  if (outbox.link !== 'online' || outbox.refused.length) return 'saved warn';
  return outbox.pending.length ? 'saved busy' : 'saved';
}

/** @param {import('../workspace.js').Workspace} host */
export function bar(host) {
  const { info, outbox } = host;
  if (!info || !outbox) return html`<div class="bar"><a class="button quiet small" href="/">All rounds</a></div>`;
  const total = Math.max(info.done + info.left, 1);
  const open = host.keys || host.view === 'chat';
  return html`<div class="bar" role="region" aria-label="Round">
    <a class="home" href="/" aria-label="All rounds" title="All rounds">←</a>
    <p class="round-title">${info.title}</p>
    ${info.task === 'chat' ? nothing : html`<p class="round-progress"><progress max=${total}
      value=${info.done} aria-label="Your progress"></progress>
      <span>${info.done} of ${total}</span></p>`}
    <button type="button" class=${savedClass(outbox)} @click=${() => host.open('saved')}
      title="What is saved where"><span class="dot" aria-hidden="true"></span>
      <span role="status">${savedText(outbox)}</span></button>
    <span class="bar-tools">
      ${info.guideline?.version && host.view !== 'guideline' ? html`<button type="button"
        class="button quiet small" aria-expanded=${String(host.panel)}
        @click=${() => host.toggleGuideline()}>Guideline ${host.keys ? hint(host.keys, 'guideline') : nothing}
        </button>` : nothing}
      ${open && host.keys ? html`<button type="button" class="button quiet small"
        @click=${() => host.open('help')}>Keys ${hint(host.keys, 'help')}</button>` : nothing}
      <button type="button" class="button quiet small icon" data-theme-toggle
        aria-label="Light or dark colours" title="Light or dark colours">◐</button>
    </span>
  </div>`;
}

/** Undo, skip, ask; and what was just done. */
export function tools(host) {
  const { keys } = host;
  const button = (id, text, run, off = false) => html`<button type="button"
    class="button quiet small" data-action=${id} ?disabled=${off} @click=${run}>${text} ${hint(keys, id)}</button>`;
  return html`<div class="tools-row">
    <p class="said" aria-hidden="true">${host.said}</p>
    ${button('undo', 'Undo', () => host.undo(), !host.desk?.history.length)}
    ${button('skip', 'Skip', () => host.open('skip'))}
    ${button('question', host.answered ? html`Ask <b class="answered">answered</b>` : 'Ask', () => host.open('question'))}
  </div>`;
}
