#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Run by the image of PostgreSQL when its data folder is empty: Sluice's role and database. The superuser loses its
# password and comes in only from inside the container (pg_hba.conf): docker compose exec postgres psql -U postgres urldb
psql --username postgres --dbname postgres --no-psqlrc --set ON_ERROR_STOP=1 <<'SQL' || exit 1
\set password `cat /run/secrets/postgres_password`
CREATE ROLE sluice LOGIN PASSWORD :'password';
CREATE DATABASE urldb OWNER sluice;
ALTER ROLE postgres PASSWORD NULL;
SQL
