#!/bin/sh
# `alioth` inside a container: hands over the secret that the services share, then becomes the real command.
# `alioth container-migrate` makes that secret on the first start and brings the database up to date.
set -eu
secret=${ALIOTH_SECRETS:-/var/lib/alioth-secrets}/models-token
unset ALIOTH_SECRETS
if [ "${1:-}" = container-migrate ]; then
    if [ ! -s "$secret" ]; then
        umask 077
        python3 -c 'import secrets; print(secrets.token_urlsafe(32))' >"$secret.new"
        mv "$secret.new" "$secret"
    fi
    set -- migrate --help-collection
fi
if [ -z "${ALIOTH_MODELS__TOKEN:-}" ] && [ -r "$secret" ]; then
    ALIOTH_MODELS__TOKEN=$(cat "$secret")
    export ALIOTH_MODELS__TOKEN
fi
exec /opt/alioth/bin/alioth "$@"
