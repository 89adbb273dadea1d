// Reasons to tick and a comment: why one response is better, where the round asks for it.

import { live } from '../vendor/lit.js';
import { Part, hint, html, nothing } from './ui.js';

export class Notes extends Part {
  static properties = { schema: {}, keys: {}, reasons: {}, comment: {}, wanted: {}, numbered: {} };

  constructor() {
    super();
    this.reasons = [];
    this.comment = '';
    this.wanted = ''; // what is still missing, in words
    this.numbered = false;
  }

  render() {
    const { reasons, comment } = this.schema;
    if (!reasons.length && comment === 'off') return nothing;
    return html`<section class="notes" aria-label="Why">
      ${reasons.length ? html`<div class="reasons" role="group" aria-label="Reasons"
          @focusin=${(e) => { this.numbered = e.target.matches(':focus-visible'); }} @focusout=${() => { this.numbered = false; }}>
        ${reasons.map((reason, i) => html`<button type="button" class="reason"
          aria-pressed=${String(this.reasons.includes(reason))} @click=${() => this.toggle(i)}>
          ${this.numbered && i < 9 ? html`<kbd aria-hidden="true">${i + 1}</kbd>` : nothing}
          ${reason}</button>`)}
        ${this.numbered ? nothing : hint(this.keys, 'reasons')}</div>` : nothing}
      ${comment === 'off' ? nothing : html`<div class="comment">
        <label for="comment">Comment ${comment === 'required' ? '(needed)' : nothing}
          ${hint(this.keys, 'comment')}</label>
        <textarea id="comment" rows="1" maxlength="20000" .value=${live(this.comment)}
          aria-describedby="comment-help" ?aria-invalid=${Boolean(this.wanted)}
          placeholder="In your own words" @input=${this.write} @keydown=${this.keydown}></textarea>
        <p id="comment-help" class="${this.wanted ? 'wanted' : 'help'}">${this.wanted
          || 'Enter sends once you have chosen, Shift + Enter starts a line, Escape goes back.'}</p>
      </div>`}
    </section>`;
  }

  write(event) {
    this.comment = event.target.value;
    this.tell('note', { comment: this.comment });
  }

  keydown(event) {
    if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      event.stopPropagation();
      this.tell('ready');
    }
  }

  /** @param {number} index of a reason */
  toggle(index) {
    const reason = this.schema.reasons[index];
    if (!reason) return;
    this.reasons = this.reasons.includes(reason)
      ? this.reasons.filter((each) => each !== reason) : [...this.reasons, reason];
    this.tell('note', { reasons: this.reasons });
  }

  /** While the reasons have the focus, digits tick them. */
  key(name) {
    if (!this.numbered || !/^[1-9]$/.test(name)) return false;
    this.toggle(Number(name) - 1);
    return true;
  }

  act(action) {
    if (action === 'comment') void this.focusOn('#comment');
    else if (action === 'reasons') void this.focusOn('.reason');
    else return false;
    return true;
  }
}
customElements.define('accord-notes', Notes);

/** Why a comment is still missing, or ''. */
export function commentWanted(schema, choice, comment) {
  if (comment.trim()) return '';
  if (schema.comment === 'required') return 'Please say why in a few words. Enter sends.';
  const from = schema.comment_at_strength;
  if (from && choice?.strength >= from) {
    return 'A strong preference needs a few words on why. Enter sends.';
  }
  return '';
}
