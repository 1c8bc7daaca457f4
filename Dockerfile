# slurm-gateway: built in one stage, run in another, never as root.
#   docker build -t slurm-gateway .
#   docker run --read-only --tmpfs /tmp -p 8443:8443 \
#     -v ./config:/etc/slurm-gateway:ro -v ./jwt_hs256.key:/etc/slurm/jwt_hs256.key:ro \
#     -v gateway-state:/var/lib/slurm-gateway -v gateway-audit:/var/log/slurm-gateway slurm-gateway
# must_exist = true asks the container's own NSS: mount /etc/passwd or sssd's socket, or switch it off knowingly.
FROM python:3.13-slim AS build
COPY pyproject.toml README.md /source/
COPY requirements/server.txt /source/requirements/
COPY gateway /source/gateway
COPY docs/man /source/docs/man
COPY deploy/container/install.sh /source/deploy/container/
RUN sh /source/deploy/container/install.sh /source /opt/slurm-gateway

FROM python:3.13-slim
RUN groupadd --gid 10001 gateway \
    && useradd --uid 10001 --gid gateway --no-create-home --shell /usr/sbin/nologin gateway \
    && install -d -m 0700 -o gateway -g gateway /var/lib/slurm-gateway /var/log/slurm-gateway
COPY --from=build /opt/slurm-gateway /opt/slurm-gateway
COPY deploy/container/health.py /opt/slurm-gateway/health.py
ENV PATH=/opt/slurm-gateway/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
EXPOSE 8443
VOLUME ["/var/lib/slurm-gateway", "/var/log/slurm-gateway"]
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python3", "/opt/slurm-gateway/health.py"]
ENTRYPOINT ["slurm-gateway"]
CMD ["serve", "--config", "/etc/slurm-gateway/gateway.toml"]
