// What every screen shares: a base without shadow roots (one style sheet, whole-page labels and
// accessible names), and how messages and responses look.

import { LitElement, html, nothing, unsafeHTML } from '../vendor/lit.js';

export { html, nothing };
export const LETTERS = 'ABCDEFGHI';

export class Part extends LitElement {
  createRenderRoot() {
    return this;
  }

  /** @param {string} name @param {unknown} [detail] */
  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
  }

  /** Moves focus once the screen shows what was asked for. @param {string} selector */
  async focusOn(selector) {
    await this.updateComplete;
    const target = this.querySelector(selector);
    if (!(target instanceof HTMLElement)) return;
    target.focus({ preventScroll: true });
    if (target instanceof HTMLTextAreaElement) { // writing goes on at the end
      target.setSelectionRange(target.value.length, target.value.length);
    }
    target.scrollIntoView({ block: 'nearest' });
  }
}

/** A text as the server made it safe, or as plain text. @param {{text: string, html?: string}} t */
export function prose(t) {
  return t.html
    ? html`<div class="prose" dir="auto">${unsafeHTML(t.html)}</div>`
    : html`<div class="prose plain" dir="auto">${t.text}</div>`;
}

const SPEAKERS = { user: 'Person', assistant: 'Assistant', system: 'Instructions' };
const SHOWN_MESSAGES = 5;

/** One message of a conversation. */
export function message(each) {
  return html`<li class="message ${each.role}">
    <span class="speaker">${SPEAKERS[each.role] ?? each.role}</span>${prose(each)}</li>`;
}

/** The conversation before the responses; the start of a long one is folded. */
export function conversation(prompt, label = 'Conversation so far') {
  if (!prompt.length) return nothing;
  const early = prompt.length > SHOWN_MESSAGES ? prompt.slice(0, -SHOWN_MESSAGES + 1) : [];
  const late = prompt.slice(early.length);
  return html`<section class="prompt" aria-label=${label}>
    ${early.length ? html`<details><summary>Earlier messages (${early.length})</summary>
      <ol class="messages">${early.map(message)}</ol></details>` : nothing}
    <ol class="messages">${late.map(message)}</ol>
  </section>`;
}

/** The small sign of a key on a button. */
export function hint(keys, id) {
  const text = keys.hint(id);
  return text ? html`<kbd aria-hidden="true">${text}</kbd>` : nothing;
}
