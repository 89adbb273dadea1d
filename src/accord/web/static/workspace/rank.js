// Ranking K responses, with ties. The responses stay where they are, to be read; a small board
// holds the order. Keys, buttons and drag all do the same few moves on a list of places.

import { LETTERS, Part, conversation, html, nothing, prose } from './ui.js';
import { commentWanted } from './notes.js';
import './labels.js';

const ORDINALS = ['Best', '2nd', '3rd', '4th', '5th', '6th', '7th', '8th', '9th'];

/** @typedef {number[][]} Places best first; those who share a place are tied */

/** Takes a response out of its place. @param {Places} places @param {number} slot */
export function without(places, slot) {
  return places.map((tied) => tied.filter((each) => each !== slot)).filter((tied) => tied.length);
}

/** Puts a response at a place of its own, before the place that was at `index`. */
export function insert(places, slot, index) {
  const before = without(places.slice(0, index), slot);
  return [...before, [slot], ...without(places.slice(index), slot)];
}

/** Ties a response with those at place `index`. */
export function tie(places, slot, index) {
  const joined = places.map((tied, i) => (i === index && !tied.includes(slot)
    ? [...tied, slot].sort((x, y) => x - y) : tied));
  return joined
    .map((tied, i) => (i === index ? tied : tied.filter((each) => each !== slot)))
    .filter((tied) => tied.length);
}

/** One step up (-1) or down (+1): out of a tie first, then past the neighbour. */
export function move(places, slot, by) {
  const at = places.findIndex((tied) => tied.includes(slot));
  if (at < 0) return places;
  if (places[at].length > 1) return insert(places, slot, by < 0 ? at : at + 1);
  const to = at + by;
  if (to < 0 || to >= places.length) return places;
  return insert(places, slot, by < 0 ? to : to + 1);
}

/** Rank by slot, 0 best. @param {Places} places @param {number} count */
export function ranksOf(places, count) {
  return Array.from({ length: count }, (_, slot) => places.findIndex((p) => p.includes(slot)));
}

export class Rank extends Part {
  static properties = { task: {}, keys: {}, body: {}, tools: {}, places: {}, picked: {}, notes: {},
    labels: {}, wanted: {}, phase: {}, drag: {} };

  constructor() {
    super();
    this.body = null;
    this.drag = null;
  }

  willUpdate(changed) {
    if (!changed.has('task')) return;
    const body = this.body ?? {};
    const { length } = this.task.responses;
    this.places = [];
    const ranks = body.ranks ?? [];
    for (let rank = 0; rank < length; rank += 1) {
      const tied = ranks.flatMap((each, slot) => (each === rank ? [slot] : []));
      if (tied.length) this.places.push(tied);
    }
    this.picked = -1;
    this.notes = { reasons: body.reasons ?? [], comment: body.comment ?? '' };
    this.labels = body.labels ?? {};
    this.wanted = '';
    // With labels each response is read and judged alone first (Ouyang et al. 2022, figure 12).
    this.phase = this.task.schema.response_labels.length && !body.ranks ? 0 : length;
  }

  get unplaced() {
    const placed = new Set(this.places.flat());
    return this.task.responses.map((_, slot) => slot).filter((slot) => !placed.has(slot));
  }

  render() {
    return this.phase < this.task.responses.length ? this.renderLabels() : this.renderBoard();
  }

  renderLabels() {
    const { prompt, responses, schema } = this.task;
    const response = responses[this.phase];
    const last = this.phase === responses.length - 1;
    return html`${conversation(prompt)}
      <div class="alone" @label=${this.label}>
        <article class="pane" aria-labelledby="pane-${response.slot}">
          <h2 id="pane-${response.slot}" tabindex="-1"><span class="letter" aria-hidden="true">
            ${LETTERS[this.phase]}</span> <span class="muted">Response ${LETTERS[this.phase]},
            ${this.phase + 1} of ${responses.length}</span></h2>
          ${prose(response)}</article>
        <div><accord-labels .labels=${schema.response_labels} .slot_=${response.slot}
          .values=${this.labels[response.slot] ?? {}}></accord-labels>
          <p class="help only-keys">Digits answer the scale, ↑ ↓ go through the questions, Space
            ticks, Enter goes on.</p></div>
      </div>
      <div class="decide"><div class="row">${this.tools}
        <button type="button" class="button quiet" ?disabled=${this.phase === 0}
          @click=${() => this.turn(-1)}>Previous</button>
        <button type="button" class="button primary" @click=${() => this.turn(1)}>
          ${last ? 'Go on to rank them' : 'Next response'} <kbd aria-hidden="true">Enter</kbd></button>
      </div></div>`;
  }

  renderBoard() {
    const { prompt, responses, schema } = this.task;
    const left = this.unplaced;
    return html`${conversation(prompt)}
      <div class="ranking">
        <div class="cards">${responses.map((response, slot) => this.card(response, slot))}</div>
        <section class="board" aria-label="Your ranking">
          <p class="question">${this.task.question || schema.question}</p>
          ${this.places.length ? html`<ol class="places">${this.places.map((tied, index) => html`
              <li class="place"><span class="gap" data-gap=${index}></span>
                <div class="tied" data-tie=${index}><span class="number">${index + 1}</span>
                  ${tied.map((slot) => this.chip(slot, index))}</div></li>`)}</ol>
              <span class="gap" data-gap=${this.places.length}></span>`
            : html`<p class="help" data-gap="0">Press the numbers from best to worst, or drag.</p>`}
          ${left.length ? html`<div class="pool" data-pool><p class="help">Not ranked yet</p>
            <div class="tied">${left.map((slot) => this.chip(slot, -1))}</div></div>` : nothing}
          ${schema.response_labels.length ? html`<button type="button" class="button quiet small"
            @click=${() => { this.phase = 0; }}>See the single answers again</button>` : nothing}
        </section>
      </div>
      <accord-notes .schema=${schema} .keys=${this.keys} .reasons=${this.notes.reasons}
        .comment=${this.notes.comment} .wanted=${this.wanted}
        @note=${this.note} @ready=${this.send}></accord-notes>
      <div class="decide"><div class="row">${this.tools}
        <span class="help" id="rank-help">${left.length
          ? `${left.length} to place` : 'All placed. Arrows move the selected one, = ties it.'}</span>
        <button type="button" class="button primary" aria-describedby="rank-help"
          @click=${this.send}>Send ranking <kbd aria-hidden="true">Enter</kbd></button>
      </div></div>`;
  }

  card(response, slot) {
    const place = this.places.findIndex((tied) => tied.includes(slot));
    const letter = LETTERS[slot];
    return html`<article class="pane ${this.picked === slot ? 'picked' : ''}"
        aria-labelledby="pane-${response.slot}">
      <header class="pane-head"><h2 id="pane-${response.slot}"><span class="letter">
        <span class="sr-only">Response </span>${letter}</span></h2>
        <button type="button" class="button small ${place < 0 ? '' : 'quiet'}"
          aria-pressed=${String(this.picked === slot)} @click=${() => this.pick(slot)}>
          ${place < 0 ? html`<kbd aria-hidden="true">${slot + 1}</kbd> Place ${letter} next`
    : html`<span class="sr-only">${letter}: </span>${ORDINALS[place]}`}</button>
      </header>${prose(response)}</article>`;
  }

  chip(slot, index) {
    const letter = LETTERS[slot];
    const placed = index >= 0;
    const text = this.task.responses[slot].text.replace(/\s+/g, ' ').slice(0, 60);
    const button = (sign, name, run, off = false) => html`<button type="button" class="tool"
      aria-label="${name} ${letter}" title="${name} ${letter}" ?disabled=${off}
      @click=${run}>${sign}</button>`;
    return html`<div class="chip ${this.picked === slot ? 'picked' : ''}" data-slot=${slot}
        @pointerdown=${(e) => this.grab(e, slot)}>
      <span class="grip" aria-hidden="true">⠿</span>
      <button type="button" class="chip-name" aria-pressed=${String(this.picked === slot)}
        aria-label=${placed ? `Response ${letter}, place ${index + 1}` : `Place ${letter} next`}
        @click=${() => this.pick(slot)}>
        <strong>${letter}</strong> <span class="extract">${text}</span></button>
      ${placed ? html`<span class="tools">
        ${button('↑', 'Move up', () => this.shift(slot, -1))}
        ${button('↓', 'Move down', () => this.shift(slot, 1))}
        ${this.task.schema.allow_tie
          ? button('=', 'Tie with the one above', () => this.tieUp(slot), index === 0) : nothing}
      </span>` : nothing}</div>`;
  }

  // The moves

  pick(slot) {
    if (slot >= this.task.responses.length) return;
    this.picked = slot;
    const place = this.places.findIndex((tied) => tied.includes(slot));
    if (place < 0) this.set(insert(this.places, slot, this.places.length), slot);
    else this.tell('say', `${LETTERS[slot]} selected, place ${place + 1}.`);
  }

  shift(slot, by) {
    this.picked = slot;
    this.set(move(this.places, slot, by), slot);
  }

  tieUp(slot) {
    const at = this.places.findIndex((tied) => tied.includes(slot));
    if (at > 0 && this.task.schema.allow_tie) this.set(tie(this.places, slot, at - 1), slot);
  }

  set(places, slot) {
    this.places = places;
    const at = places.findIndex((tied) => tied.includes(slot));
    const others = at < 0 ? [] : places[at].filter((each) => each !== slot);
    const shared = others.length ? `, tied with ${others.map((s) => LETTERS[s]).join(', ')}` : '';
    this.tell('say', at < 0 ? `${LETTERS[slot]} is not ranked.`
      : `${LETTERS[slot]}: place ${at + 1}${shared}.`);
    this.tell('draft', this.current());
  }

  // Drag, with a mouse, a pen or a finger

  grab(event, slot) {
    if (event.button !== 0 || event.target.closest('.tool')) return;
    const chip = event.currentTarget;
    const from = { x: event.clientX, y: event.clientY };
    const moved = (e) => {
      const far = Math.hypot(e.clientX - from.x, e.clientY - from.y);
      if (!this.drag && far < 6) return;
      if (!this.drag) {
        this.drag = { slot };
        chip.classList.add('dragging');
        this.querySelector('.board').classList.add('dropping');
      }
      e.preventDefault();
      chip.style.transform = `translate(${e.clientX - from.x}px, ${e.clientY - from.y}px)`;
      this.mark(this.target(e));
    };
    const done = (e) => {
      document.removeEventListener('pointermove', moved);
      document.removeEventListener('pointerup', done);
      document.removeEventListener('pointercancel', done);
      if (!this.drag) return;
      const target = e.type === 'pointerup' ? this.target(e) : null;
      chip.style.transform = '';
      chip.classList.remove('dragging');
      this.querySelector('.board').classList.remove('dropping');
      this.mark(null);
      this.drag = null;
      document.addEventListener('click', swallow, { capture: true, once: true });
      setTimeout(() => document.removeEventListener('click', swallow, { capture: true }), 0);
      if (target) this.drop(target, slot);
    };
    document.addEventListener('pointermove', moved, { passive: false });
    document.addEventListener('pointerup', done);
    document.addEventListener('pointercancel', done);
  }

  target(event) {
    const under = document.elementFromPoint(event.clientX, event.clientY);
    const zone = under?.closest('[data-gap], [data-tie], [data-pool]');
    return zone && this.contains(zone) ? zone : null;
  }

  mark(zone) {
    for (const each of this.querySelectorAll('.over')) each.classList.remove('over');
    zone?.classList.add('over');
  }

  drop(zone, slot) {
    this.picked = slot;
    const { gap, tie: tied } = zone.dataset;
    if (gap !== undefined) this.set(insert(this.places, slot, Number(gap)), slot);
    else if (tied === undefined) this.set(without(this.places, slot), slot);
    else if (this.task.schema.allow_tie) this.set(tie(this.places, slot, Number(tied)), slot);
    else this.set(insert(this.places, slot, Number(tied)), slot);
  }

  // Notes, labels, sending

  current() {
    const ranks = ranksOf(this.places, this.task.responses.length);
    return { ...(ranks.includes(-1) ? {} : { ranks }), ...this.notes, labels: this.labels };
  }

  note(event) {
    this.notes = { ...this.notes, ...event.detail };
    if (event.detail.comment?.trim()) this.wanted = '';
    this.tell('draft', this.current());
  }

  label(event) {
    this.labels = { ...this.labels, [event.detail.slot]: event.detail.values };
    this.tell('draft', this.current());
  }

  turn(by) {
    if (by > 0 && !this.querySelector('accord-labels').check()) {
      this.tell('say', 'Please answer the scale first.');
      return;
    }
    this.phase = Math.max(0, this.phase + by);
    void this.focusOn('.pane h2');
    window.scrollTo({ top: 0 });
  }

  send() {
    if (this.unplaced.length) {
      const names = this.unplaced.map((slot) => LETTERS[slot]).join(', ');
      this.tell('say', `Still to place: ${names}.`);
      return;
    }
    this.wanted = commentWanted(this.task.schema, null, this.notes.comment);
    if (this.wanted) {
      this.querySelector('accord-notes').act('comment');
      return;
    }
    this.tell('decide', this.current());
  }

  key(name) {
    if (this.phase >= this.task.responses.length) return this.querySelector('accord-notes').key(name);
    const labels = this.querySelector('accord-labels');
    if (/^\d$/.test(name)) return labels.digit(Number(name));
    if (name === 'ArrowUp' || name === 'ArrowDown') labels.step(name === 'ArrowUp' ? -1 : 1);
    else if (name === 'Enter') this.turn(1);
    else return false;
    return true;
  }

  act(action) {
    const pick = /^pick-(\d)$/.exec(action);
    if (pick) this.pick(Number(pick[1]) - 1);
    else if (action === 'submit') this.send();
    else if (['up', 'down', 'tie', 'remove'].includes(action)) this.actOnPicked(action);
    else return this.querySelector('accord-notes')?.act(action) ?? false;
    return true;
  }

  actOnPicked(action) {
    if (this.picked < 0) this.tell('say', 'Select a response with its number first.');
    else if (action === 'tie') this.tieUp(this.picked);
    else if (action === 'remove') this.set(without(this.places, this.picked), this.picked);
    else this.shift(this.picked, action === 'up' ? -1 : 1);
  }
}
customElements.define('accord-rank', Rank);

/** The click that ends a drag is not a click. */
function swallow(event) {
  event.stopPropagation();
  event.preventDefault();
}
