# Part of the packages' install scripts: makes the helpers' users, with systemd-sysusers or without it.
# Debian forbids nothing here but removal: the users stay when the package goes.
if command -v systemd-sysusers >/dev/null 2>&1; then
    systemd-sysusers pillion.conf
else
    while read -r name id; do
        getent group "$name" >/dev/null || groupadd --gid "$id" "$name"
        getent passwd "$name" >/dev/null || useradd --uid "$id" --gid "$name" --no-create-home \
            --home-dir / --shell /usr/sbin/nologin "$name"
    done <<'USERS'
pillion-proxy 1337
pillion-logs 1338
pillion-secrets 1339
pillion-egress 1340
pillion-metrics 1341
USERS
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || true
fi
