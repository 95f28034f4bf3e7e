"""An example or two of every command. A test has each parsed by its command, and finds commands without."""

import shlex
from collections.abc import Mapping
from functools import cache

_LINES = """
keyweave up scenarios/tokyo.yaml  # a whole network on this machine, and a live screen of it
keyweave up scenarios/vienna.yaml --no-table --state-dir /var/tmp/vienna  # without a screen, somewhere else
keyweave up scenarios/tokyo.yaml --controllers 3 --database postgresql+asyncpg://keyweave@127.0.0.1/keyweave
keyweave status  # one screen, what is wrong first; exit code 3 if anything is
keyweave status --wait --timeout 120  # in scripts: until every stream can serve keys
keyweave status -o json  # everything, for programs
keyweave top  # the same, live
keyweave top --streams delivered --match bank  # only what has "bank" in its name or at its ends
keyweave top --once  # once, for logs
keyweave health 127.0.0.1:21004  # in a container's health check
keyweave check-config /etc/keyweave/controller.yaml /etc/keyweave/agent.yaml  # before a restart
keyweave check-config --kind guard guard.yaml
keyweave check-config pilot.yaml  # what a report is to be held against
keyweave report --from -30d --criteria pilot.yaml -o html --output-file pilot.html  # a pilot of 30 days
keyweave completion bash  # source it, or put it where bash looks
keyweave man plan what-if  # the page of one command
keyweave man --write /usr/local/share/man/man1  # all pages
keyweave controller --config /etc/keyweave/controller.yaml  # run it
keyweave controller backup --config /etc/keyweave/controller.yaml /var/backups/keyweave.tar
keyweave controller restore --config /etc/keyweave/controller.yaml /var/backups/keyweave.tar
keyweave controller enrol --token-file - --dir /etc/keyweave/tls  # reads the token from standard input
keyweave controller renew --dir /etc/keyweave/tls  # daily
keyweave controller raise-epoch --config /etc/keyweave/controller.yaml --to 900 --confirm  # after a restore
keyweave controller migrate --config /etc/keyweave/controller.yaml --to 0012 --confirm  # for an older version
keyweave agent --config /etc/keyweave/agent.yaml  # run it
keyweave agent enrol --token-file token --dir /etc/keyweave/tls --controller controller.example:21001
keyweave agent renew --dir /etc/keyweave/tls --within 30d
keyweave emulator --config emulator.yaml --speed 60  # a minute of the scenario in a second
keyweave driver list  # what an agent's configuration may name
keyweave driver test etsi014 --config device.yaml  # against the device itself
keyweave guard template koganei-1  # to start from
keyweave guard check guard.yaml --policy /var/lib/keyweave/policy.json  # would all of a policy still run?
keyweave pki init --dir authorities  # asks for a passphrase
keyweave pki issue --dir authorities --role operator --name alice --out alice
keyweave pki enrol --token-file token --out /etc/keyweave/tls
keyweave pki renew --dir authorities --out alice
keyweave pki revoke --dir authorities --role operator --name alice
keyweave pki list --dir authorities --within 14d  # exit code 3 if something ends within two weeks
keyweave pki token --dir authorities --node koganei-1 --server pki.example:8444 --ttl 1h
keyweave pki serve --dir authorities --listen 0.0.0.0:8444
keyweave policy list  # which agents run by what is wanted of them
keyweave policy show koganei-1  # rule by rule
keyweave node list
keyweave node get koganei-1 -o json
keyweave node create leiden --trust-domain south --key-plane-address leiden.example:8445
keyweave node update leiden --owner surf
keyweave node delete leiden
keyweave node drain leiden  # streams leave it make-before-break
keyweave node undrain leiden
keyweave node zeroize leiden --confirm  # destroys all its key material
keyweave link list
keyweave link get toshiba
keyweave link create leiden-delft --a-node leiden --b-node delft --technology dv-qkd --length-km 23
keyweave link update toshiba --risk-groups duct-7 --risk-groups bridge-2
keyweave link delete leiden-delft
keyweave link disable toshiba  # at once; both ends destroy its pools
keyweave link enable toshiba
keyweave link clear toshiba  # a false alarm
keyweave link destroy toshiba --confirm  # no false alarm
keyweave link calibrate toshiba
keyweave stream list
keyweave stream get bank-settlement
keyweave stream create bank --source-node a --target-node b --source-sae x --target-sae y --require-qkd
keyweave stream update bank --priority 7 --clear avoid_nodes
keyweave stream delete bank --validate-only  # what the plan would be without it
keyweave stream explain bank-settlement  # why it is routed so, and who can see its keys
keyweave stream provenance bank-settlement --from -1d  # how its keys were protected
keyweave pair-stream create a d --min-fidelity 0.85 --rate 5 --deadline 10m --type md
keyweave pair-stream create a d --name a-d-keys --rate 20 --keys a-d-epr  # keys that no relay ever sees
keyweave pair-stream update a-d --rate 8 --validate-only
keyweave pair-stream list
keyweave pair-stream show a-d
keyweave pair-stream explain a-d  # which path, why, and what would give more
keyweave pair-stream verify a-d --pairs 1000  # entangled? a Bell test
keyweave pair-stream delete a-d
keyweave pair-link list
keyweave ledger show bank-settlement --from -15m  # what became of its keys
keyweave plan show
keyweave plan list
keyweave plan diff 12 14  # who was routed otherwise
keyweave plan rollback 12 --validate-only  # what going back would change
keyweave plan unpin  # plan by itself again after a rollback
keyweave plan what-if "cut toshiba"  # also: keyweave plan --what-if "cut toshiba"
keyweave plan what-if "cut toshiba, down koganei-2, add hongo-koganei-3 20k"
keyweave plan what-if --all-single  # every link, risk group and node, the most harmful first
keyweave plan what-if --all-double --timeout 600 -o json
keyweave plan capacity  # where the next fibre helps most; also: keyweave plan --capacity
keyweave plan capacity --goal protected --max-km 80
keyweave maintenance create splice-7 --link toshiba --start 2026-12-01T02:00:00Z --for 2h --reason "splice 7"
keyweave maintenance list
keyweave maintenance show splice-7
keyweave maintenance update splice-7 --for 3h
keyweave maintenance end splice-7
keyweave maintenance delete splice-7
keyweave schedule create banks --tenant banks --refresh 30s --key-ttl 5m
keyweave schedule list
keyweave schedule get banks
keyweave schedule update banks --refresh 20s
keyweave schedule delete banks
keyweave audit list --count 20 --subject stream/bank
keyweave audit verify --anchors /var/log/syslog  # was the log cut off or changed?
keyweave audit export audit.jsonl
keyweave event list --count 20
keyweave event watch --past 5 -o json  # one object per line
keyweave fault cut toshiba
keyweave fault eavesdrop toshiba --fraction 0.5
keyweave fault attenuate toshiba --db 3 --ramp 10
keyweave fault detector toshiba
keyweave fault bend toshiba
keyweave fault tap toshiba
keyweave fault blind toshiba
keyweave fault dark-burst toshiba
keyweave fault laser-drift toshiba --duration 60
keyweave fault clock-loss toshiba
keyweave fault cloud toshiba --db 6
keyweave fault node-loss koganei-1
keyweave fault network-delay koganei-1 --ms 50
keyweave fault network-loss koganei-1 --peer controller
keyweave fault partition koganei-1
keyweave fault memory-failure amber --memories 4
keyweave fault decoherence amber --factor 20
keyweave fault restore toshiba
keyweave fault restore --node koganei-1
keyweave fault list
keyweave scenario check scenarios/tokyo.yaml
keyweave scenario show scenarios/tokyo.yaml -o json
keyweave scenario plot scenarios/tokyo.yaml -o tokyo.svg
"""


@cache
def examples() -> Mapping[tuple[str, ...], tuple[str, ...]]:
    """The examples of each command, by its words; those of a group with a file of its own by the group's."""
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for line in _LINES.strip().splitlines():
        words = [word for word in shlex.split(line, comments=True)[1:3] if not word.startswith("-")]
        for path in {tuple(words), tuple(words[:1])}:
            found[path] = (*found.get(path, ()), line)
    return found


def of(path: tuple[str, ...]) -> tuple[str, ...]:
    """The examples of one command; a command without verbs has those of its only word."""
    return examples().get(path, ())
