BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE events (
	id INTEGER NOT NULL, 
	content TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "events" VALUES(1,'{"kind":"plan_changed","severity":"info","message":"plan 1 changes 2 of 2 streams: anyhow, quantum","time_unix_seconds":1795292752.1269283,"node":"","link":"","stream":"","fields":{"version":"1","streams":"anyhow,quantum"},"id":1}');
INSERT INTO "events" VALUES(2,'{"kind":"agent_connected","severity":"info","message":"agent ''a'' connected","time_unix_seconds":1795292753.7600563,"node":"a","link":"","stream":"","fields":{},"id":2}');
INSERT INTO "events" VALUES(3,'{"kind":"agent_connected","severity":"info","message":"agent ''c'' connected","time_unix_seconds":1795292753.8664181,"node":"c","link":"","stream":"","fields":{},"id":3}');
INSERT INTO "events" VALUES(4,'{"kind":"link_condition_changed","severity":"info","message":"link ''ab'' went from stale to ok: QBER 2.0% is below 8.8%","time_unix_seconds":1795292753.9476435,"node":"","link":"ab","stream":"","fields":{"old":"stale","new":"ok","reason":"QBER 2.0% is below 8.8%"},"id":4}');
INSERT INTO "events" VALUES(5,'{"kind":"link_condition_changed","severity":"info","message":"link ''ac'' went from stale to ok: QBER 2.0% is below 8.8%","time_unix_seconds":1795292753.9476435,"node":"","link":"ac","stream":"","fields":{"old":"stale","new":"ok","reason":"QBER 2.0% is below 8.8%"},"id":5}');
INSERT INTO "events" VALUES(6,'{"kind":"agent_connected","severity":"info","message":"agent ''b'' connected","time_unix_seconds":1795292753.9957726,"node":"b","link":"","stream":"","fields":{},"id":6}');
INSERT INTO "events" VALUES(7,'{"kind":"plan_changed","severity":"info","message":"plan 2 changes 1 of 2 streams: quantum","time_unix_seconds":1795292754.0483027,"node":"","link":"","stream":"","fields":{"version":"2","streams":"quantum"},"id":7}');
INSERT INTO "events" VALUES(8,'{"kind":"link_condition_changed","severity":"info","message":"link ''bc'' went from stale to ok: QBER 2.0% is below 8.8%","time_unix_seconds":1795292754.17473,"node":"","link":"bc","stream":"","fields":{"old":"stale","new":"ok","reason":"QBER 2.0% is below 8.8%"},"id":8}');
INSERT INTO "events" VALUES(9,'{"kind":"plan_changed","severity":"info","message":"plan 3 changes 2 of 2 streams: anyhow, quantum","time_unix_seconds":1795292754.2530537,"node":"","link":"","stream":"","fields":{"version":"3","streams":"anyhow,quantum"},"id":9}');
INSERT INTO "events" VALUES(10,'{"kind":"stream_supplied","severity":"info","message":"stream supplied at ''a'' (anyhow): protected by hybrid","time_unix_seconds":1795292754.4177384,"node":"a","link":"","stream":"anyhow","fields":{"reason":"protected by hybrid","peer_node":"c"},"id":10}');
INSERT INTO "events" VALUES(11,'{"kind":"stream_supplied","severity":"info","message":"stream supplied at ''c'' (anyhow): protected by hybrid","time_unix_seconds":1795292754.430179,"node":"c","link":"","stream":"anyhow","fields":{"reason":"protected by hybrid","peer_node":"a"},"id":11}');
INSERT INTO "events" VALUES(12,'{"kind":"stream_supplied","severity":"info","message":"stream supplied at ''a'' (quantum): protected by hybrid","time_unix_seconds":1795292754.596862,"node":"a","link":"","stream":"quantum","fields":{"reason":"protected by hybrid","peer_node":"b"},"id":12}');
INSERT INTO "events" VALUES(13,'{"kind":"stream_supplied","severity":"info","message":"stream supplied at ''b'' (quantum): protected by hybrid","time_unix_seconds":1795292754.5994048,"node":"b","link":"","stream":"quantum","fields":{"reason":"protected by hybrid","peer_node":"a"},"id":13}');
INSERT INTO "events" VALUES(14,'{"kind":"stream_failover","severity":"minor","message":"stream failover at ''b'' (quantum): moved without interruption","time_unix_seconds":1795292754.608949,"node":"b","link":"","stream":"quantum","fields":{"reason":"moved without interruption","peer_node":"a","duration_seconds":"0.000","protection_before":"hybrid","protection_after":"hybrid","paths_before":"quantum:bb6924a2","paths_after":"quantum:fb8e20fc"},"id":14}');
INSERT INTO "events" VALUES(15,'{"kind":"stream_failover","severity":"minor","message":"stream failover at ''a'' (quantum): moved without interruption","time_unix_seconds":1795292754.611735,"node":"a","link":"","stream":"quantum","fields":{"reason":"moved without interruption","peer_node":"b","duration_seconds":"0.000","protection_before":"hybrid","protection_after":"hybrid","paths_before":"quantum:bb6924a2","paths_after":"quantum:fb8e20fc"},"id":15}');
INSERT INTO "events" VALUES(16,'{"kind":"plan_changed","severity":"info","message":"plan 4 changes 2 of 2 streams: anyhow, quantum","time_unix_seconds":1795292785.0475783,"node":"","link":"","stream":"","fields":{"version":"4","streams":"anyhow,quantum"},"id":16}');
INSERT INTO "events" VALUES(17,'{"kind":"link_loss_of_signal","severity":"major","message":"link loss of signal at ''a'' (ab): the device reports no signal","time_unix_seconds":1795292786.4995024,"node":"a","link":"ab","stream":"","fields":{"reason":"the device reports no signal","peer_node":"b","since_unix_seconds":"1795292786.498"},"id":17}');
INSERT INTO "events" VALUES(18,'{"kind":"link_condition_changed","severity":"major","message":"link ''ab'' went from ok to down: no signal at ''a'': the device reports no signal","time_unix_seconds":1795292786.5002637,"node":"","link":"ab","stream":"","fields":{"old":"ok","new":"down","reason":"no signal at ''a'': the device reports no signal"},"id":18}');
INSERT INTO "events" VALUES(19,'{"kind":"stream_unmet","severity":"major","message":"stream ''quantum'' cannot have what it requires: no usable links connect a and b; what could reconnect them: link ab (down, 0 bit/s), bc (maintenance, 0 bit/s)","time_unix_seconds":1795292786.5002637,"node":"","link":"","stream":"quantum","fields":{},"id":19}');
INSERT INTO "events" VALUES(20,'{"kind":"plan_changed","severity":"info","message":"plan 5 changes 1 of 2 streams: quantum","time_unix_seconds":1795292786.5002637,"node":"","link":"","stream":"","fields":{"version":"5","streams":"quantum"},"id":20}');
INSERT INTO "events" VALUES(21,'{"kind":"link_loss_of_signal","severity":"major","message":"link loss of signal at ''b'' (ab): the device reports no signal","time_unix_seconds":1795292786.5051725,"node":"b","link":"ab","stream":"","fields":{"reason":"the device reports no signal","peer_node":"a","since_unix_seconds":"1795292786.498"},"id":21}');
INSERT INTO "events" VALUES(22,'{"kind":"agent_lost","severity":"major","message":"agent ''c'' disconnected","time_unix_seconds":1795292792.7130077,"node":"c","link":"","stream":"","fields":{},"id":22}');
INSERT INTO "events" VALUES(23,'{"kind":"agent_lost","severity":"major","message":"agent ''b'' disconnected","time_unix_seconds":1795292792.746007,"node":"b","link":"","stream":"","fields":{},"id":23}');
INSERT INTO "events" VALUES(24,'{"kind":"agent_lost","severity":"major","message":"agent ''a'' disconnected","time_unix_seconds":1795292792.7835133,"node":"a","link":"","stream":"","fields":{},"id":24}');
CREATE TABLE lease (
	id INTEGER NOT NULL, 
	epoch BIGINT NOT NULL, 
	holder VARCHAR(255) NOT NULL, 
	taken_at FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "lease" VALUES(1,1,'host:1',1.79529275189523434639e+09);
CREATE TABLE links (
	name VARCHAR(63) NOT NULL, 
	spec TEXT NOT NULL, 
	revision BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "links" VALUES('ab','{"name": "ab", "a_node": "a", "b_node": "b", "technology": "LINK_TECHNOLOGY_DV_QKD", "length_km": 10.0, "revision": "1"}',1);
INSERT INTO "links" VALUES('bc','{"name": "bc", "a_node": "b", "b_node": "c", "technology": "LINK_TECHNOLOGY_DV_QKD", "length_km": 10.0, "maintenance": true, "revision": "2"}',2);
INSERT INTO "links" VALUES('ac','{"name": "ac", "a_node": "a", "b_node": "c", "technology": "LINK_TECHNOLOGY_DV_QKD", "length_km": 10.0, "revision": "1"}',1);
CREATE TABLE nodes (
	name VARCHAR(63) NOT NULL, 
	spec TEXT NOT NULL, 
	revision BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "nodes" VALUES('a','{"name": "a", "owner": "NICT", "key_plane_address": "127.0.0.1:24466", "revision": "1"}',1);
INSERT INTO "nodes" VALUES('b','{"name": "b", "key_plane_address": "127.0.0.1:24804", "revision": "1"}',1);
INSERT INTO "nodes" VALUES('c','{"name": "c", "key_plane_address": "127.0.0.1:23059", "revision": "1"}',1);
CREATE TABLE rollout (
	id INTEGER NOT NULL, 
	content TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "rollout" VALUES(1,'{"plan":{"version":5,"snapshot_version":15,"streams":{"anyhow":{"stream":"anyhow","rate_bps":8191.991807991808,"path_sets":[{"rank":0,"rate_bps":8191.991807991808,"paths":[{"path_id":"anyhow:f45de51c","hops":[{"link":"ac","from_node":"a","to_node":"c"}]}],"reason":"narrowest link ac: 99985 bit/s usable"}],"reason":"keeps a→c at 8192 bit/s; which is all of max_rate_bps 8192","unmet":""},"quantum":{"stream":"quantum","rate_bps":0.0,"path_sets":[],"reason":"no usable links connect a and b; what could reconnect them: link ab (down, 0 bit/s), bc (maintenance, 0 bit/s)","unmet":"no usable links connect a and b; what could reconnect them: link ab (down, 0 bit/s), bc (maintenance, 0 bit/s)"}}},"retiring":[],"established":["anyhow:f45de51c"],"epoch":1}');
CREATE TABLE streams (
	name VARCHAR(63) NOT NULL, 
	spec TEXT NOT NULL, 
	revision BIGINT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "streams" VALUES('quantum','{"name": "quantum", "source_node": "a", "target_node": "b", "source_sae": "q-a", "target_sae": "q-b", "min_rate_bps": "1024", "max_rate_bps": "8192", "require_qkd": true, "revision": "1"}',1);
INSERT INTO "streams" VALUES('anyhow','{"name": "anyhow", "source_node": "a", "target_node": "c", "source_sae": "s-a", "target_sae": "s-c", "min_rate_bps": "1024", "max_rate_bps": "8192", "accept_strongest_available": true, "revision": "1"}',1);
COMMIT;
