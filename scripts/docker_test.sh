#!/bin/bash
# Build the image, start the services, ingest a file through the command line inside, ask, restart, ask again, stop.
# Uses a project and volumes of its own, so that a running Alioth is left alone. Needs Docker with Compose v2.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v docker >/dev/null || { echo "Docker was not found. Install Docker Engine with the Compose plugin."; exit 1; }
docker compose version >/dev/null 2>&1 || { echo "The Compose plugin of Docker was not found. Install it."; exit 1; }
docker info >/dev/null 2>&1 || { echo "The Docker engine does not answer. Start it, or run this as a user who may use it."; exit 1; }

export DOCKER_BUILDKIT=0 COMPOSE_PROJECT_NAME=alioth-test ALIOTH_PORT=${ALIOTH_PORT:-18501}
compose() { docker compose "$@"; }
step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
fail() { echo "FAILED: $*" >&2; compose logs --tail 40 >&2 || true; exit 1; }
finish() { step "stop"; compose down --volumes --remove-orphans --timeout 20 >/dev/null 2>&1 || true; }
trap finish EXIT

alioth() { compose exec -T web alioth "$@"; }
ask() { # question, words that the answer must hold, document that must be cited
    local json
    json=$(alioth ask "$1" --collection leave --json) || fail "ask '$1'"
    python3 - "$json" "$2" "$3" <<'P' || fail "the answer to '$1' is wrong: $json"
import json, sys
answer = json.loads(sys.argv[1])
assert not answer["refused"], "refused"
assert sys.argv[2] in answer["answer"], "answer"
assert any(c["document"] == sys.argv[3] for c in answer["citations"]), "citation"
print("  ", answer["answer"])
P
}
page() { # what the host sees
    python3 - "http://127.0.0.1:$ALIOTH_PORT" <<'P' || fail "the page does not answer on port $ALIOTH_PORT"
import sys, urllib.request
for path in ("/healthz", "/readyz"):
    with urllib.request.urlopen(sys.argv[1] + path, timeout=10) as answer:
        assert answer.status == 200, path
print("   the page is ready")
P
}

compose down --volumes --remove-orphans --timeout 5 >/dev/null 2>&1 || true # what a run that was killed left
step "build"
compose build --quiet
step "start"
compose up --wait --wait-timeout 300 || fail "the services do not become healthy"
page
step "services run without privileges, and only the page is published"
[ "$(compose exec -T web id -u)" = 10001 ] || fail "the services run as root"
[ "$(docker ps --filter label=com.docker.compose.project=alioth-test --format '{{.Ports}}' | grep -c -- '->')" = 1 ] || fail "more than the page is published"
if compose exec -T worker python3 -c "import socket; socket.create_connection(('1.1.1.1', 53), 3)" 2>/dev/null; then
    fail "the inner network has a way out"
fi
step "the set-up link"
alioth user reset --json | python3 -c 'import json, sys; assert "/setup" in json.load(sys.stdin)["url"]' || fail "no set-up link"
step "ingest"
compose cp tests/corpus/files/leave.md web:/tmp/leave.md
compose cp "tests/corpus/files/保修政策.txt" "web:/tmp/保修政策.txt"
alioth collection create leave
report=$(alioth ingest add /tmp/leave.md "/tmp/保修政策.txt" --collection leave --json) || fail "ingest: $report"
step "ask"
ask "How many unused days may be carried into the next year?" "5" leave.md
ask "耗材的保修期是多长？" "三个月" 保修政策.txt
step "restart"
compose down --timeout 20
compose up --wait --wait-timeout 300 || fail "the services do not become healthy again"
page
step "ask again"
ask "How many unused days may be carried into the next year?" "5" leave.md
ask "耗材的保修期是多长？" "三个月" 保修政策.txt
alioth index verify --json >/dev/null || fail "the indexes differ"
step "all is well"
