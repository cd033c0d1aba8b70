-- A ledger of format 1: three promotions and a rollback, as the first release wrote them.
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE entries (
    model TEXT NOT NULL, epoch INTEGER NOT NULL, content TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL,
    PRIMARY KEY (model, epoch)
) WITHOUT ROWID;
INSERT INTO "entries" VALUES('parcels',1,'{"actor": "baton", "at": "2024-01-01T06:00:00Z", "digest": "ee195db0cd14979ece92e4ac42d91fef87d1ee254f8df170907cd674dab12d44", "epoch": 1, "model": "parcels", "previous_epoch": 0, "reason": "schedule", "verdict_id": "54d687312f2842dab3e4a71f339e5bf65616f21f886f94574bfcaf0fd524da3a", "version": "1"}','0000000000000000000000000000000000000000000000000000000000000000','bc51a7bd3329cdfd4c024712bae483bceaca79b9ec30f390a767b0ccbd5cccc3');
INSERT INTO "entries" VALUES('parcels',2,'{"actor": "baton", "at": "2024-02-01T06:00:00Z", "digest": "c531b3dea7338c636959fdcd858e87d848fddc3601ee3d4851536fe72fc75824", "epoch": 2, "model": "parcels", "previous_epoch": 1, "reason": "schedule", "verdict_id": "c8df11e0c85e2d76e9ef3113b3f37bcfa6ceafe004a3c41a5226225aadae9522", "version": "2"}','bc51a7bd3329cdfd4c024712bae483bceaca79b9ec30f390a767b0ccbd5cccc3','0ad73855f4743e2fe9d18ce4f5a3970983fbee5bddc69a9b66269d039c933a91');
INSERT INTO "entries" VALUES('parcels',3,'{"actor": "baton", "at": "2024-03-03T06:00:00Z", "digest": "b487d56dcb6e43a9a4e7e8d173897dd80763922be7091c292c69c81fdbf8f516", "epoch": 3, "model": "parcels", "previous_epoch": 2, "reason": "schedule", "verdict_id": "be87d7d91a345af7b9361debfdecf23c4915f37fccad10c8f1f7bd77a01d5f80", "version": "3"}','0ad73855f4743e2fe9d18ce4f5a3970983fbee5bddc69a9b66269d039c933a91','cd097d5b9db7f44bb9f7d455c43990e7ed0ec8fa35d76d043997e0dd533bebc8');
INSERT INTO "entries" VALUES('parcels',4,'{"actor": "person", "at": "2024-03-11T06:00:00Z", "digest": "c531b3dea7338c636959fdcd858e87d848fddc3601ee3d4851536fe72fc75824", "epoch": 4, "model": "parcels", "previous_epoch": 3, "reason": "a customer complains", "verdict_id": "c8df11e0c85e2d76e9ef3113b3f37bcfa6ceafe004a3c41a5226225aadae9522", "version": "2"}','cd097d5b9db7f44bb9f7d455c43990e7ed0ec8fa35d76d043997e0dd533bebc8','35b7f72d2a7660e25673142f80a00e78d055a8030855c8dc71d280e9db3e1b6a');
CREATE TABLE verdicts (id TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "verdicts" VALUES('54d687312f2842dab3e4a71f339e5bf65616f21f886f94574bfcaf0fd524da3a','{"blocks":28,"challenger":"ee195db0cd14979ece92e4ac42d91fef87d1ee254f8df170907cd674dab12d44","champion":null,"checks":[{"detail":"mean log loss gain .0040","high":0.007,"low":0.001,"name":"gain","observed":0.004,"outcome":"passed","required":0.002}],"epoch":0,"holdout":"fb3826c39b1c23eb8973d1b101c766970493e8a4b1c4d5694780e6480b265200","intent":"refresh","judged_at":"2024-01-01T06:00:00Z","metric":"log_loss","model":"parcels","policy":{"min_lift":0.002},"rows":2800,"rows_needed":null}
');
INSERT INTO "verdicts" VALUES('be87d7d91a345af7b9361debfdecf23c4915f37fccad10c8f1f7bd77a01d5f80','{"blocks":28,"challenger":"b487d56dcb6e43a9a4e7e8d173897dd80763922be7091c292c69c81fdbf8f516","champion":"c531b3dea7338c636959fdcd858e87d848fddc3601ee3d4851536fe72fc75824","checks":[{"detail":"mean log loss gain .0040","high":0.007,"low":0.001,"name":"gain","observed":0.004,"outcome":"passed","required":0.002}],"epoch":2,"holdout":"ac22782677ba07f8df2226dde8e6b015adc9951e3d6b33ed5f5dd7a846ac6089","intent":"refresh","judged_at":"2024-03-03T06:00:00Z","metric":"log_loss","model":"parcels","policy":{"min_lift":0.002},"rows":2800,"rows_needed":null}
');
INSERT INTO "verdicts" VALUES('c8df11e0c85e2d76e9ef3113b3f37bcfa6ceafe004a3c41a5226225aadae9522','{"blocks":28,"challenger":"c531b3dea7338c636959fdcd858e87d848fddc3601ee3d4851536fe72fc75824","champion":"ee195db0cd14979ece92e4ac42d91fef87d1ee254f8df170907cd674dab12d44","checks":[{"detail":"mean log loss gain .0040","high":0.007,"low":0.001,"name":"gain","observed":0.004,"outcome":"passed","required":0.002}],"epoch":1,"holdout":"ae093f19a403c4dd0e0d2eac53620af57ab53bfc45c90ce529a42b2c7c8f2586","intent":"refresh","judged_at":"2024-02-01T06:00:00Z","metric":"log_loss","model":"parcels","policy":{"min_lift":0.002},"rows":2800,"rows_needed":null}
');
CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_last BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER verdicts_stay BEFORE UPDATE ON verdicts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER verdicts_last BEFORE DELETE ON verdicts
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
COMMIT;
