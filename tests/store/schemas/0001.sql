BEGIN TRANSACTION;
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
INSERT INTO "accounts" VALUES('rater-f55e51b8','Ada','ada','ada@example','owner','active','$argon2id$v=19$m=19456,t=2,p=1$bdGO8mGcWrIUFTRLZKUNKQ$E360Nkn/DgrZRTzeI8hOaiS6m4hOncQScVjUNoQlY+Y','19706e930c0d3ae27a82be611cffe7ec6d0cae60e3f112a2cb01db0addeb6a03','{}',1.79546302701874971397e+09,NULL);
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
INSERT INTO "adjudications" VALUES('adjudications-id','485443749665de50','bb2256a6864b1951','open','','{}',NULL,NULL,NULL,1.79546303325916409496e+09);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
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
INSERT INTO "api_tokens" VALUES('30d6e92391349824','eae2e0764570f93a20372b6721168449b0c084b18157889ab1b9f259fd813f03','rater-f55e51b8','ci','rater',1.79546302760086274145e+09,NULL,1.80323902760086369513e+09,NULL);
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
INSERT INTO "assignments" VALUES('6dc97187fb58a6a0','485443749665de50','bb2256a6864b1951','rater-f55e51b8',0,'done','random','[0,1]',0,1.79546393181813383104e+09,1.79546303181813383109e+09,1.79546303203747224805e+09,NULL,NULL,NULL,NULL);
INSERT INTO "assignments" VALUES('a7b5fd920567e2a3','485443749665de50','08641adc65c6284d','rater-f55e51b8',0,'done','random','[0,1]',0,1.79546393234907269475e+09,1.7954630323490726948e+09,1.79546303248470616345e+09,NULL,NULL,NULL,NULL);
INSERT INTO "assignments" VALUES('ec445e1847e6cb9b','485443749665de50','e933dd3979bdb4f1','rater-f55e51b8',0,'open','random','[0,1]',0,1.79546393263708758351e+09,1.79546303263708758356e+09,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE chains (
    project_id VARCHAR(32) NOT NULL,
    seq INTEGER NOT NULL,
    head VARCHAR(64) NOT NULL,
    CONSTRAINT pk_chains PRIMARY KEY (project_id)
);
INSERT INTO "chains" VALUES('installation',3,'77d5b85ac66242b357c16fa893a5c5395f0362e810958ef6f01a1a0c6079bcc2');
INSERT INTO "chains" VALUES('da115dec83e1b668',8,'2c3d4adede3dbe9abf5bf33cbd6384479c82a0d0784072c3579537e3b094fc06');
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
INSERT INTO "conversations" VALUES('conversations-id','485443749665de50','rater-f55e51b8','bb2256a6864b1951','open',1.79546303352132678027e+09);
CREATE TABLE drafts (
    assignment_id VARCHAR(32) NOT NULL,
    rater_id VARCHAR(32) NOT NULL,
    body TEXT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_drafts PRIMARY KEY (assignment_id),
    CONSTRAINT fk_drafts_assignment_id FOREIGN KEY(assignment_id) REFERENCES assignments (id),
    CONSTRAINT fk_drafts_rater_id FOREIGN KEY(rater_id) REFERENCES accounts (id)
);
INSERT INTO "drafts" VALUES('ec445e1847e6cb9b','rater-f55e51b8','{"comment":"so far"}',1.79546303274009394642e+09);
CREATE TABLE events (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
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
INSERT INTO "events" VALUES(1,'installation',1,'account_created','system',NULL,NULL,'{"account":"rater-f55e51b8","commitment":"f3aa87905e24f9171d70a31139776bc4512386723ef6a1362d052344f6b2f367","role":"owner"}',1.79546302719346761705e+09,'6d10df2cf439c4acb50bf722936b8b1d8edcd330e0c7a0cc17c480bcb1ec7e9d');
INSERT INTO "events" VALUES(2,'installation',2,'invite_created','rater-f55e51b8',NULL,NULL,'{"expires_at":1796067827.4401057,"invite":"fc784adc082c973d","role":"rater"}',1.79546302744141411788e+09,'d976aa7c37b125c68b254555b31ecb9011e05f3543fd528d71fdb6515d41a7f6');
INSERT INTO "events" VALUES(3,'installation',3,'token_created','rater-f55e51b8',NULL,NULL,'{"account":"rater-f55e51b8","role":"rater","token":"30d6e92391349824"}',1.7954630276022675037e+09,'77d5b85ac66242b357c16fa893a5c5395f0362e810958ef6f01a1a0c6079bcc2');
INSERT INTO "events" VALUES(4,'da115dec83e1b668',1,'project_created','system',NULL,NULL,'{"name":"e0416eb0ee17d501","project":"da115dec83e1b668"}',1.79546303008207845685e+09,'dee0b83012abe597f5f82cfc998977958e58039042ee2c418e8f1831fb28531d');
INSERT INTO "events" VALUES(5,'da115dec83e1b668',2,'round_created','system',NULL,NULL,'{"budget":null,"guideline":0,"name":"round","purpose":"train","round":"485443749665de50","schema":{"allow_both_bad":true,"allow_cannot_compare":true,"allow_tie":true,"chat_mode":null,"comment":"optional","comment_at_strength":null,"continue_with":"chosen","max_turns":8,"name":"hh","question":"Which response is better?","reasons":[],"response_labels":[],"strength_steps":4},"settings":{"anchor_share":0.0,"attention_share":0.0,"batch_size":50,"calibration_overlap":3,"calibration_share":0.0,"escalate_raters":2,"escalate_spread":null,"gold_share":0.0,"lease_seconds":900,"overlap":1,"policies":[],"random_floor":0.3,"seed":0,"show_draft":false,"speech":{"max_tokens":256,"seed":0,"temperature":1.0,"top_k":0,"top_p":1.0},"training_items":0,"training_pass":0.7},"task":"compare"}',1.79546303038817334175e+09,'3b7e6aba3725b5ae796fa1d8ac3d7e24d271c365857f78d427483ba59823a30d');
INSERT INTO "events" VALUES(6,'da115dec83e1b668',3,'items_added','system',NULL,NULL,'{"num_items":3,"round":"485443749665de50","sha256":"06964029ab0d96283649e028c5830e3d6e8d6bb854de68465fee2b5ff16aaed5"}',1.79546303064317250251e+09,'525c2c03a20a9b5ac81ecb70bceb4a20fb665c956cad3b823e0c769d4c04cca3');
INSERT INTO "events" VALUES(7,'da115dec83e1b668',4,'round_opened','system',NULL,NULL,'{"round":"485443749665de50"}',1.79546303087023735047e+09,'85f216941970aa373fbb3f5c34b0de78fe79632f1d756119ca04260a8e1c9847');
INSERT INTO "events" VALUES(8,'da115dec83e1b668',5,'guideline_set','rater-f55e51b8',NULL,NULL,'{"sha256":"5499befb38dbf3fcc08107141cb2a9e7f42a6aae403361dc3601b8296d7967ea","version":1}',1.79546303106169080729e+09,'67df9fa679d61432535e7668bd0dc6b5160130b0d09da242d8873c16d5c6624e');
INSERT INTO "events" VALUES(9,'da115dec83e1b668',6,'guideline_acknowledged','rater-f55e51b8','guideline da115dec83e1b668 1',NULL,'{"rater":"rater-f55e51b8","version":1}',1.79546303124603056906e+09,'c0f3e3fcd7ee5d47bd55d510c71794532ea4502a7109fea8b4477b2b56003387');
INSERT INTO "events" VALUES(10,'da115dec83e1b668',7,'judgment','rater-f55e51b8','k0','6dc97187fb58a6a0','{"assignment":"6dc97187fb58a6a0","body":{"active_ms":10,"comment":"","labels":{},"num_keys":1,"outcome":"a","reasons":[],"strength":1},"guideline":0,"item":"bb2256a6864b1951","permutation":[0,1]}',1.79546303203747224805e+09,'28d1bd70b9c457f042d68fd2174ad5ebd4911f6f4b4adbfdb7e365308d5d9b64');
INSERT INTO "events" VALUES(11,'da115dec83e1b668',8,'judgment','rater-f55e51b8','k1','a7b5fd920567e2a3','{"assignment":"a7b5fd920567e2a3","body":{"active_ms":10,"comment":"","labels":{},"num_keys":1,"outcome":"a","reasons":[],"strength":1},"guideline":0,"item":"08641adc65c6284d","permutation":[0,1]}',1.79546303248470616345e+09,'2c3d4adede3dbe9abf5bf33cbd6384479c82a0d0784072c3579537e3b094fc06');
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
INSERT INTO "generation_chunks" VALUES('generations-id',1,1,'',0,NULL,1.79546303352234888073e+09);
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
INSERT INTO "generations" VALUES('generations-id','generations-purpose','485443749665de50','{}','{}','{}','queued',0.0,NULL,NULL,0,NULL,'',1.79546303308628129964e+09,NULL,NULL);
CREATE TABLE guideline_acks (
    rater_id VARCHAR(32) NOT NULL,
    project_id VARCHAR(32) NOT NULL,
    version INTEGER NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_guideline_acks PRIMARY KEY (rater_id, project_id, version),
    CONSTRAINT fk_guideline_acks_project_id_version FOREIGN KEY(project_id, version) REFERENCES guidelines (project_id, version),
    CONSTRAINT fk_guideline_acks_rater_id FOREIGN KEY(rater_id) REFERENCES accounts (id)
);
INSERT INTO "guideline_acks" VALUES('rater-f55e51b8','da115dec83e1b668',1,1.79546303124715161316e+09);
CREATE TABLE guidelines (
    project_id VARCHAR(32) NOT NULL,
    version INTEGER NOT NULL,
    text TEXT NOT NULL,
    created_by VARCHAR(32) NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_guidelines PRIMARY KEY (project_id, version),
    CONSTRAINT fk_guidelines_project_id FOREIGN KEY(project_id) REFERENCES projects (id)
);
INSERT INTO "guidelines" VALUES('da115dec83e1b668',1,'Be kind.','rater-f55e51b8',1.79546303106094098087e+09);
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
INSERT INTO "invites" VALUES('fc784adc082c973d','02a43fa9263d9d711c23294e19ea97857fb97db6205b75fbfa6e80d3c4ca83c9','rater','Bob','','rater-f55e51b8',1.79546302744010567668e+09,1.79606782744010567663e+09,NULL,NULL,NULL);
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
INSERT INTO "items" VALUES('bb2256a6864b1951','485443749665de50','{"prompt":{"id":"a","messages":[{"role":"user","content":"About a?"}],"tags":[]},"completions":[{"text":"a.0","model":"policy-0","finished":true},{"text":"a.1","model":"policy-1","finished":true}]}','normal',NULL,0,1,1,1,0,0.0,586567422,'',1.79546303064227080348e+09);
INSERT INTO "items" VALUES('08641adc65c6284d','485443749665de50','{"prompt":{"id":"b","messages":[{"role":"user","content":"About b?"}],"tags":[]},"completions":[{"text":"b.0","model":"policy-0","finished":true},{"text":"b.1","model":"policy-1","finished":true}]}','normal',NULL,0,1,1,1,0,0.0,1760593603,'',1.79546303064227175715e+09);
INSERT INTO "items" VALUES('e933dd3979bdb4f1','485443749665de50','{"prompt":{"id":"c","messages":[{"role":"user","content":"About c?"}],"tags":[]},"completions":[{"text":"c.0","model":"policy-0","finished":true},{"text":"c.1","model":"policy-1","finished":true}]}','normal',NULL,0,1,1,0,0,0.0,2113634066,'',1.79546303064227223394e+09);
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
INSERT INTO "judgments" VALUES('6dc97187fb58a6a0','485443749665de50','bb2256a6864b1951','rater-f55e51b8',10,'{"active_ms":10,"num_keys":1,"outcome":"a","strength":1,"reasons":[],"comment":"","labels":{}}','{"outcome":"best","best":0,"strength":1,"reasons":[],"comment":""}',0,0,10,1.79546303203747224805e+09);
INSERT INTO "judgments" VALUES('a7b5fd920567e2a3','485443749665de50','08641adc65c6284d','rater-f55e51b8',11,'{"active_ms":10,"num_keys":1,"outcome":"a","strength":1,"reasons":[],"comment":"","labels":{}}','{"outcome":"best","best":0,"strength":1,"reasons":[],"comment":""}',0,0,10,1.79546303248470616345e+09);
CREATE TABLE login_attempts (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    name_hash VARCHAR(64) NOT NULL,
    address VARCHAR(64) NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    succeeded BOOLEAN NOT NULL
);
INSERT INTO "login_attempts" VALUES(1,'fdee430d40bd57deeac186cd9790033d0f06f909a8806e7ce6e717ab7c7d5029','',1.79546302779817056657e+09,1);
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
INSERT INTO "projects" VALUES('da115dec83e1b668','e0416eb0ee17d501',1,'{}','system',1.79546303008155751224e+09);
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
INSERT INTO "questions" VALUES('questions-id','485443749665de50','bb2256a6864b1951','6dc97187fb58a6a0','rater-f55e51b8','',1.79546303368130064003e+09,'',NULL,NULL);
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
INSERT INTO "round_raters" VALUES('485443749665de50','rater-f55e51b8',3,2,0,0,'{"place":[0.0,2113634066,"e933dd3979bdb4f1"]}');
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
INSERT INTO "rounds" VALUES('485443749665de50','da115dec83e1b668','round','compare','train','open',0,'{"name":"hh","question":"Which response is better?","strength_steps":4,"allow_tie":true,"allow_both_bad":true,"allow_cannot_compare":true,"reasons":[],"comment":"optional","comment_at_strength":null,"response_labels":[],"chat_mode":null,"continue_with":"chosen","max_turns":8}','{"overlap":1,"calibration_share":0.0,"calibration_overlap":3,"gold_share":0.0,"attention_share":0.0,"anchor_share":0.0,"batch_size":50,"random_floor":0.3,"lease_seconds":900,"seed":0,"escalate_spread":null,"escalate_raters":2,"training_items":0,"training_pass":0.7,"show_draft":false,"policies":[],"speech":{"max_tokens":256,"temperature":1.0,"top_k":0,"top_p":1.0,"seed":0}}',NULL,3,3,2,'system',1.79546303025809836383e+09,1.79546303086969518663e+09,NULL,NULL);
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
INSERT INTO "sessions" VALUES('1de50b7276dff3c79b8f47603b10f87ff6e27182449acae8cf2c6ce3d8f764ed','rater-f55e51b8','5BlYlTiXyDnnxgQNChLeYs0tcbjt4qLPqfYLnbPm9ic',1.79546302996499419213e+09,1.795463029964994669e+09,1.79667262996496272082e+09);
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
INSERT INTO "snapshots" VALUES('snapshots-id','485443749665de50','','snapshots-content_hash',1,1,'{}','snapshots-created_by',1.79546303325789976127e+09);
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
INSERT INTO "turns" VALUES('turns-id','conversations-id',1,'','waiting','generations-id','6dc97187fb58a6a0',NULL,NULL,1.79546303382919025422e+09,NULL);
CREATE INDEX ix_login_attempts_address_at ON login_attempts (address, at);
CREATE INDEX ix_login_attempts_name_hash_at ON login_attempts (name_hash, at);
CREATE INDEX ix_api_tokens_account_id ON api_tokens (account_id);
CREATE INDEX ix_events_assignment_id ON events (assignment_id);
CREATE INDEX ix_rounds_state ON rounds (state);
CREATE INDEX ix_sessions_account_id ON sessions (account_id);
CREATE INDEX ix_sessions_expires_at ON sessions (expires_at);
CREATE INDEX ix_generations_queue ON generations (state, priority, created_at);
CREATE INDEX ix_generations_round_id_purpose_state ON generations (round_id, purpose, state);
CREATE INDEX ix_items_open ON items (round_id, role, priority DESC, shuffle, id) WHERE taken < needed;
CREATE INDEX ix_items_order ON items (round_id, role, shuffle, id);
CREATE INDEX ix_items_random ON items (round_id, role, shuffle, id) WHERE taken < needed;
CREATE INDEX ix_snapshots_round_id ON snapshots (round_id);
CREATE INDEX ix_adjudications_round_id_state_created_at ON adjudications (round_id, state, created_at);
CREATE INDEX ix_assignments_leased ON assignments (round_id, lease_expires) WHERE state = 'open';
CREATE INDEX ix_assignments_rater_id_finished_at ON assignments (rater_id, finished_at);
CREATE INDEX ix_assignments_round_id_rater_id_state ON assignments (round_id, rater_id, state);
CREATE INDEX ix_conversations_rater_id_round_id_state ON conversations (rater_id, round_id, state);
CREATE INDEX ix_judgments_item_id ON judgments (item_id);
CREATE INDEX ix_judgments_rater_id_at ON judgments (rater_id, at);
CREATE INDEX ix_judgments_round_id_at ON judgments (round_id, at);
CREATE INDEX ix_questions_round_id_at ON questions (round_id, at);
CREATE INDEX ix_turns_generation_id ON turns (generation_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('events',11);
INSERT INTO "sqlite_sequence" VALUES('login_attempts',1);
COMMIT;
