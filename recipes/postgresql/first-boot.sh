#!/bin/sh
# Makes what no two machines may share: the TLS key, the database cluster (with its system identifier) and the database.
# Run by postgresql-first-boot.service until it has succeeded once; a second run goes on where the first one stopped.
set -eu

marker=/var/lib/postgresql/.first-boot-done
[ ! -e "$marker" ] || exit 0

version=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -V | tail -n 1)

[ -s /etc/ssl/private/ssl-cert-snakeoil.key ] || make-ssl-cert generate-default-snakeoil --force-overwrite
[ -d "/etc/postgresql/$version/main" ] || pg_createcluster --locale=C.UTF-8 "$version" main -- --data-checksums
systemctl start "postgresql@$version-main.service"

database='@database@'
as_postgres() { runuser -u postgres -- "$@"; }
found=$(as_postgres psql -tA -v name="$database" <<'SQL'
select count(*) from pg_database where datname = :'name';
SQL
)
[ "$found" != 0 ] || as_postgres createdb -- "$database"
touch "$marker"
