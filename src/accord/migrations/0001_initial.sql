-- The studio's first schema. Frozen: a later change is a later migration.
-- {serial} is the database's way to count rows by itself.

CREATE TABLE accounts (
    id VARCHAR(32) NOT NULL,
    name TEXT NOT NULL,
    name_key VARCHAR(200) NOT NULL,
    contact TEXT NOT NULL,
    role VARCHAR(16) NOT NULL,
    status VARCHAR(16) NOT NULL,
    password_hash TEXT,
    shred_key VARCHAR(64),
    settings TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    erased_at DOUBLE PRECISION,
    CONSTRAINT pk_accounts PRIMARY KEY (id),
    CONSTRAINT uq_accounts_name_key UNIQUE (name_key)
);

CREATE TABLE chains (
    project_id VARCHAR(32) NOT NULL,
    seq INTEGER NOT NULL,
    head VARCHAR(64) NOT NULL,
    CONSTRAINT pk_chains PRIMARY KEY (project_id)
);

CREATE TABLE login_attempts (
    id {serial},
    name_hash VARCHAR(64) NOT NULL,
    address VARCHAR(64) NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    succeeded BOOLEAN NOT NULL
);
CREATE INDEX ix_login_attempts_address_at ON login_attempts (address, at);
CREATE INDEX ix_login_attempts_name_hash_at ON login_attempts (name_hash, at);

CREATE TABLE projects (
    id VARCHAR(32) NOT NULL,
    name VARCHAR(200) NOT NULL,
    guideline INTEGER NOT NULL,
    settings TEXT NOT NULL,
    created_by VARCHAR(32) NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_projects PRIMARY KEY (id),
    CONSTRAINT uq_projects_name UNIQUE (name)
);

CREATE TABLE api_tokens (
    id VARCHAR(32) NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    name TEXT NOT NULL,
    role VARCHAR(16) NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    used_at DOUBLE PRECISION,
    expires_at DOUBLE PRECISION,
    revoked_at DOUBLE PRECISION,
    CONSTRAINT pk_api_tokens PRIMARY KEY (id),
    CONSTRAINT uq_api_tokens_token_hash UNIQUE (token_hash),
    CONSTRAINT fk_api_tokens_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);
CREATE INDEX ix_api_tokens_account_id ON api_tokens (account_id);

CREATE TABLE events (
    id {serial},
    project_id VARCHAR(32) NOT NULL,
    seq INTEGER NOT NULL,
    kind VARCHAR(40) NOT NULL,
    actor VARCHAR(32) NOT NULL,
    key VARCHAR(80),
    assignment_id VARCHAR(32),
    body TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    hash VARCHAR(64) NOT NULL,
    CONSTRAINT uq_events_project_id_seq UNIQUE (project_id, seq),
    CONSTRAINT uq_events_actor_key UNIQUE (actor, key),
    CONSTRAINT fk_events_project_id FOREIGN KEY(project_id) REFERENCES chains (project_id)
);
CREATE INDEX ix_events_assignment_id ON events (assignment_id);

CREATE TABLE guidelines (
    project_id VARCHAR(32) NOT NULL,
    version INTEGER NOT NULL,
    text TEXT NOT NULL,
    created_by VARCHAR(32) NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_guidelines PRIMARY KEY (project_id, version),
    CONSTRAINT fk_guidelines_project_id FOREIGN KEY(project_id) REFERENCES projects (id)
);

CREATE TABLE invites (
    id VARCHAR(32) NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    role VARCHAR(16) NOT NULL,
    name TEXT NOT NULL,
    contact TEXT NOT NULL,
    created_by VARCHAR(32) NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    used_at DOUBLE PRECISION,
    revoked_at DOUBLE PRECISION,
    account_id VARCHAR(32),
    CONSTRAINT pk_invites PRIMARY KEY (id),
    CONSTRAINT uq_invites_token_hash UNIQUE (token_hash),
    CONSTRAINT fk_invites_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);

CREATE TABLE rounds (
    id VARCHAR(32) NOT NULL,
    project_id VARCHAR(32) NOT NULL,
    name VARCHAR(200) NOT NULL,
    task VARCHAR(16) NOT NULL,
    purpose VARCHAR(16) NOT NULL,
    state VARCHAR(16) NOT NULL,
    guideline INTEGER NOT NULL,
    schema TEXT NOT NULL,
    settings TEXT NOT NULL,
    budget INTEGER,
    num_items INTEGER NOT NULL,
    num_wanted INTEGER NOT NULL,
    num_judgments INTEGER NOT NULL,
    created_by VARCHAR(32) NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    opened_at DOUBLE PRECISION,
    closed_at DOUBLE PRECISION,
    frozen_at DOUBLE PRECISION,
    CONSTRAINT pk_rounds PRIMARY KEY (id),
    CONSTRAINT uq_rounds_project_id_name UNIQUE (project_id, name),
    CONSTRAINT fk_rounds_project_id FOREIGN KEY(project_id) REFERENCES projects (id)
);
CREATE INDEX ix_rounds_state ON rounds (state);

CREATE TABLE sessions (
    token_hash VARCHAR(64) NOT NULL,
    account_id VARCHAR(32) NOT NULL,
    csrf VARCHAR(64) NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    seen_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (token_hash),
    CONSTRAINT fk_sessions_account_id FOREIGN KEY(account_id) REFERENCES accounts (id)
);
CREATE INDEX ix_sessions_account_id ON sessions (account_id);
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);

CREATE TABLE generations (
    id VARCHAR(32) NOT NULL,
    purpose VARCHAR(16) NOT NULL,
    round_id VARCHAR(32),
    messages TEXT NOT NULL,
    policies TEXT NOT NULL,
    params TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    priority DOUBLE PRECISION NOT NULL,
    worker VARCHAR(80),
    lease_expires DOUBLE PRECISION,
    attempts INTEGER NOT NULL,
    results TEXT,
    error TEXT NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    started_at DOUBLE PRECISION,
    finished_at DOUBLE PRECISION,
    CONSTRAINT pk_generations PRIMARY KEY (id),
    CONSTRAINT fk_generations_round_id FOREIGN KEY(round_id) REFERENCES rounds (id)
);
CREATE INDEX ix_generations_queue ON generations (state, priority, created_at);
CREATE INDEX ix_generations_round_id_purpose_state ON generations (round_id, purpose, state);

CREATE TABLE guideline_acks (
    rater_id VARCHAR(32) NOT NULL,
    project_id VARCHAR(32) NOT NULL,
    version INTEGER NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_guideline_acks PRIMARY KEY (rater_id, project_id, version),
    CONSTRAINT fk_guideline_acks_project_id_version FOREIGN KEY(project_id, version) REFERENCES guidelines (project_id, version),
    CONSTRAINT fk_guideline_acks_rater_id FOREIGN KEY(rater_id) REFERENCES accounts (id)
);

CREATE TABLE items (
    id VARCHAR(32) NOT NULL,
    round_id VARCHAR(32) NOT NULL,
    payload TEXT NOT NULL,
    role VARCHAR(16) NOT NULL,
    answer TEXT,
    calibration BOOLEAN NOT NULL,
    needed INTEGER NOT NULL,
    taken INTEGER NOT NULL,
    done INTEGER NOT NULL,
    escalated BOOLEAN NOT NULL,
    priority DOUBLE PRECISION NOT NULL,
    shuffle INTEGER NOT NULL,
    source VARCHAR(200) NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_items PRIMARY KEY (id),
    CONSTRAINT fk_items_round_id FOREIGN KEY(round_id) REFERENCES rounds (id)
);
CREATE INDEX ix_items_open ON items (round_id, role, priority DESC, shuffle, id) WHERE taken < needed;
CREATE INDEX ix_items_order ON items (round_id, role, shuffle, id);
CREATE INDEX ix_items_random ON items (round_id, role, shuffle, id) WHERE taken < needed;

CREATE TABLE round_raters (
    round_id VARCHAR(32) NOT NULL,
    rater_id VARCHAR(32) NOT NULL,
    num_drawn INTEGER NOT NULL,
    num_done INTEGER NOT NULL,
    training_done INTEGER NOT NULL,
    training_right INTEGER NOT NULL,
    state TEXT NOT NULL,
    CONSTRAINT pk_round_raters PRIMARY KEY (round_id, rater_id),
    CONSTRAINT fk_round_raters_round_id FOREIGN KEY(round_id) REFERENCES rounds (id),
    CONSTRAINT fk_round_raters_rater_id FOREIGN KEY(rater_id) REFERENCES accounts (id)
);

CREATE TABLE snapshots (
    id VARCHAR(32) NOT NULL,
    round_id VARCHAR(32) NOT NULL,
    path TEXT NOT NULL,
    content_hash VARCHAR(80) NOT NULL,
    first_event BIGINT NOT NULL,
    last_event BIGINT NOT NULL,
    settings TEXT NOT NULL,
    created_by VARCHAR(32) NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_snapshots PRIMARY KEY (id),
    CONSTRAINT fk_snapshots_round_id FOREIGN KEY(round_id) REFERENCES rounds (id)
);
CREATE INDEX ix_snapshots_round_id ON snapshots (round_id);

CREATE TABLE adjudications (
    id VARCHAR(32) NOT NULL,
    round_id VARCHAR(32) NOT NULL,
    item_id VARCHAR(32) NOT NULL,
    state VARCHAR(16) NOT NULL,
    reason VARCHAR(200) NOT NULL,
    notes TEXT NOT NULL,
    outcome TEXT,
    resolved_by VARCHAR(32),
    resolved_at DOUBLE PRECISION,
    created_at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_adjudications PRIMARY KEY (id),
    CONSTRAINT fk_adjudications_round_id FOREIGN KEY(round_id) REFERENCES rounds (id),
    CONSTRAINT uq_adjudications_item_id UNIQUE (item_id),
    CONSTRAINT fk_adjudications_item_id FOREIGN KEY(item_id) REFERENCES items (id)
);
CREATE INDEX ix_adjudications_round_id_state_created_at ON adjudications (round_id, state, created_at);

CREATE TABLE assignments (
    id VARCHAR(32) NOT NULL,
    round_id VARCHAR(32) NOT NULL,
    item_id VARCHAR(32) NOT NULL,
    rater_id VARCHAR(32) NOT NULL,
    repeat INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL,
    reason VARCHAR(16) NOT NULL,
    permutation TEXT NOT NULL,
    guideline INTEGER NOT NULL,
    lease_expires DOUBLE PRECISION NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    finished_at DOUBLE PRECISION,
    shown_at DOUBLE PRECISION,
    both_complete_at DOUBLE PRECISION,
    first_key_at DOUBLE PRECISION,
    skip_reason VARCHAR(200),
    CONSTRAINT pk_assignments PRIMARY KEY (id),
    CONSTRAINT uq_assignments_item_id_rater_id_repeat UNIQUE (item_id, rater_id, repeat),
    CONSTRAINT fk_assignments_round_id FOREIGN KEY(round_id) REFERENCES rounds (id),
    CONSTRAINT fk_assignments_item_id FOREIGN KEY(item_id) REFERENCES items (id),
    CONSTRAINT fk_assignments_rater_id FOREIGN KEY(rater_id) REFERENCES accounts (id)
);
CREATE INDEX ix_assignments_leased ON assignments (round_id, lease_expires) WHERE state = 'open';
CREATE INDEX ix_assignments_rater_id_finished_at ON assignments (rater_id, finished_at);
CREATE INDEX ix_assignments_round_id_rater_id_state ON assignments (round_id, rater_id, state);

CREATE TABLE conversations (
    id VARCHAR(32) NOT NULL,
    round_id VARCHAR(32) NOT NULL,
    rater_id VARCHAR(32) NOT NULL,
    item_id VARCHAR(32),
    state VARCHAR(16) NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_conversations PRIMARY KEY (id),
    CONSTRAINT fk_conversations_round_id FOREIGN KEY(round_id) REFERENCES rounds (id),
    CONSTRAINT fk_conversations_rater_id FOREIGN KEY(rater_id) REFERENCES accounts (id),
    CONSTRAINT fk_conversations_item_id FOREIGN KEY(item_id) REFERENCES items (id)
);
CREATE INDEX ix_conversations_rater_id_round_id_state ON conversations (rater_id, round_id, state);

CREATE TABLE generation_chunks (
    generation_id VARCHAR(32) NOT NULL,
    seq INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    text TEXT NOT NULL,
    final BOOLEAN NOT NULL,
    finished_reason VARCHAR(40),
    at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_generation_chunks PRIMARY KEY (generation_id, seq),
    CONSTRAINT fk_generation_chunks_generation_id FOREIGN KEY(generation_id) REFERENCES generations (id)
);

CREATE TABLE drafts (
    assignment_id VARCHAR(32) NOT NULL,
    rater_id VARCHAR(32) NOT NULL,
    body TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_drafts PRIMARY KEY (assignment_id),
    CONSTRAINT fk_drafts_assignment_id FOREIGN KEY(assignment_id) REFERENCES assignments (id),
    CONSTRAINT fk_drafts_rater_id FOREIGN KEY(rater_id) REFERENCES accounts (id)
);

CREATE TABLE judgments (
    assignment_id VARCHAR(32) NOT NULL,
    round_id VARCHAR(32) NOT NULL,
    item_id VARCHAR(32) NOT NULL,
    rater_id VARCHAR(32) NOT NULL,
    event_id BIGINT NOT NULL,
    body TEXT NOT NULL,
    outcome TEXT NOT NULL,
    guideline INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    active_ms INTEGER NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_judgments PRIMARY KEY (assignment_id),
    CONSTRAINT fk_judgments_assignment_id FOREIGN KEY(assignment_id) REFERENCES assignments (id),
    CONSTRAINT fk_judgments_round_id FOREIGN KEY(round_id) REFERENCES rounds (id),
    CONSTRAINT fk_judgments_item_id FOREIGN KEY(item_id) REFERENCES items (id),
    CONSTRAINT fk_judgments_rater_id FOREIGN KEY(rater_id) REFERENCES accounts (id),
    CONSTRAINT uq_judgments_event_id UNIQUE (event_id),
    CONSTRAINT fk_judgments_event_id FOREIGN KEY(event_id) REFERENCES events (id)
);
CREATE INDEX ix_judgments_item_id ON judgments (item_id);
CREATE INDEX ix_judgments_rater_id_at ON judgments (rater_id, at);
CREATE INDEX ix_judgments_round_id_at ON judgments (round_id, at);

CREATE TABLE questions (
    id VARCHAR(32) NOT NULL,
    round_id VARCHAR(32) NOT NULL,
    item_id VARCHAR(32),
    assignment_id VARCHAR(32),
    rater_id VARCHAR(32) NOT NULL,
    text TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    answer TEXT NOT NULL,
    answered_by VARCHAR(32),
    answered_at DOUBLE PRECISION,
    CONSTRAINT pk_questions PRIMARY KEY (id),
    CONSTRAINT fk_questions_round_id FOREIGN KEY(round_id) REFERENCES rounds (id),
    CONSTRAINT fk_questions_item_id FOREIGN KEY(item_id) REFERENCES items (id),
    CONSTRAINT fk_questions_assignment_id FOREIGN KEY(assignment_id) REFERENCES assignments (id),
    CONSTRAINT fk_questions_rater_id FOREIGN KEY(rater_id) REFERENCES accounts (id)
);
CREATE INDEX ix_questions_round_id_at ON questions (round_id, at);

CREATE TABLE turns (
    id VARCHAR(32) NOT NULL,
    conversation_id VARCHAR(32) NOT NULL,
    position INTEGER NOT NULL,
    text TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    generation_id VARCHAR(32),
    assignment_id VARCHAR(32),
    responses TEXT,
    continued INTEGER,
    created_at DOUBLE PRECISION NOT NULL,
    chosen_at DOUBLE PRECISION,
    CONSTRAINT pk_turns PRIMARY KEY (id),
    CONSTRAINT uq_turns_conversation_id_position UNIQUE (conversation_id, position),
    CONSTRAINT fk_turns_conversation_id FOREIGN KEY(conversation_id) REFERENCES conversations (id),
    CONSTRAINT fk_turns_generation_id FOREIGN KEY(generation_id) REFERENCES generations (id),
    CONSTRAINT fk_turns_assignment_id FOREIGN KEY(assignment_id) REFERENCES assignments (id)
);
CREATE INDEX ix_turns_generation_id ON turns (generation_id);
