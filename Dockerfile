# tsbouncer as a container: configured from the environment, as the images pgbouncer/pgbouncer and edoburu/pgbouncer are,
# or by a file at /etc/pgbouncer/pgbouncer.ini. docs/operations.md says how.

FROM node:24-alpine AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts/compile.js scripts/
COPY src src
# What only building needs goes.
RUN npm run --silent build \
 && chmod 755 dist/process/main.js \
 && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:24-alpine
# The user, its number and the folders are those of the other images, so that volumes fit.
RUN addgroup -S -g 70 postgres \
 && adduser -S -D -H -u 70 -h /var/lib/postgresql -s /bin/sh -G postgres postgres \
 && install -d -o postgres -g postgres /etc/pgbouncer /var/log/pgbouncer /var/run/pgbouncer \
 && install -d /opt/pgbouncer \
 && for link in /usr/local/bin/tsbouncer /usr/bin/pgbouncer /opt/pgbouncer/pgbouncer; do \
      ln -s /opt/tsbouncer/dist/process/main.js "$link"; \
    done \
 && printf '#!/bin/sh\nexec tsbouncer docker-entrypoint "$@"\n' > /entrypoint.sh \
 && chmod 755 /entrypoint.sh \
 && ln -s /entrypoint.sh /opt/pgbouncer/entrypoint.sh
COPY --from=build /build/package.json /opt/tsbouncer/
COPY --from=build /build/node_modules /opt/tsbouncer/node_modules
COPY --from=build /build/dist /opt/tsbouncer/dist
COPY LICENSE pgbouncer.ini.example /opt/tsbouncer/
ENV NODE_ENV=production
USER postgres
# 5432 is the port that edoburu's variables lead to, 6432 is everyone else's.
EXPOSE 5432 6432
# Transactions are waited for, idle clients are not: SIGTERM would wait for every client to leave.
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["tsbouncer", "ping", "/etc/pgbouncer/pgbouncer.ini"]
ENTRYPOINT ["tsbouncer", "docker-entrypoint"]
CMD ["/usr/bin/pgbouncer", "/etc/pgbouncer/pgbouncer.ini"]
