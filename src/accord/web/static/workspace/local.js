// What this browser keeps: IndexedDB, else localStorage, else only memory (and then it says so).
// A change of several stores is one transaction: a crash leaves all of it or none.

const STORES = { queue: 'key', held: 'assignment', history: 'assignment', drafts: 'id', meta: 'id' };

/** @typedef {[store: string, action: 'put', value: object] | [string, 'delete', string]} Change */

/**
 * Opens the stores of one rater; two people who share a browser share nothing.
 * @param {string} rater
 */
export async function openLocal(rater) {
  const name = `accord-${rater}`;
  try {
    return new IndexedStore(await openDatabase(name));
  } catch {
    try {
      localStorage.setItem(`${name}-probe`, '1');
      localStorage.removeItem(`${name}-probe`);
      return new TextStore(name, localStorage);
    } catch {
      return new TextStore(name, memory());
    }
  }
}

class IndexedStore {
  /** @param {IDBDatabase} database */
  constructor(database) {
    this.database = database;
    this.keeps = true;
  }

  /** @param {string} store @returns {Promise<any[]>} */
  all(store) {
    return new Promise((resolve, reject) => {
      const request = this.database.transaction(store).objectStore(store).getAll();
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }

  /** @param {string} store @param {string} id @returns {Promise<any>} */
  one(store, id) {
    return new Promise((resolve, reject) => {
      const request = this.database.transaction(store).objectStore(store).get(id);
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  }

  /** @param {Change[]} changes @returns {Promise<void>} resolved when all of it is written */
  write(changes) {
    if (!changes.length) return Promise.resolve();
    const names = [...new Set(changes.map(([store]) => store))];
    return new Promise((resolve, reject) => {
      const work = this.database.transaction(names, 'readwrite');
      for (const [store, action, value] of changes) work.objectStore(store)[action](value);
      work.oncomplete = () => resolve();
      work.onabort = work.onerror = () => reject(work.error);
      work.commit?.(); // at once, also when the page is on its way out
    });
  }
}

/** The same over a string map, one text per change of a store. */
class TextStore {
  /** @param {string} name @param {Storage} storage */
  constructor(name, storage) {
    this.name = name;
    this.storage = storage;
    this.keeps = storage === window.localStorage;
  }

  rows() {
    const text = this.storage.getItem(this.name);
    return text ? JSON.parse(text) : {};
  }

  async all(store) {
    const keyPath = STORES[store];
    const rows = Object.values(this.rows()[store] ?? {});
    return rows.sort((x, y) => (x[keyPath] < y[keyPath] ? -1 : 1)); // as IndexedDB gives them
  }

  async one(store, id) {
    return this.rows()[store]?.[id];
  }

  async write(changes) {
    const rows = this.rows();
    for (const [store, action, value] of changes) {
      rows[store] ??= {};
      if (action === 'put') rows[store][value[STORES[store]]] = value;
      else delete rows[store][value];
    }
    this.storage.setItem(this.name, JSON.stringify(rows)); // one write: all or none
  }
}

function openDatabase(name) {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => {
      for (const [store, keyPath] of Object.entries(STORES)) {
        request.result.createObjectStore(store, { keyPath });
      }
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = request.onblocked = () => reject(request.error);
  });
}

function memory() {
  const map = new Map();
  return {
    getItem: (key) => map.get(key) ?? null,
    setItem: (key, value) => void map.set(key, value),
    removeItem: (key) => void map.delete(key),
  };
}
