"""Rules about keys and secrets, wherever they lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rule_images import Case, append, benign, cases, defect, link, prove, write

PEM = "-----BEGIN {0}PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END {0}PRIVATE KEY-----\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIDXTCCAkWgAwIBAgIJAKL0UG\n-----END CERTIFICATE-----\n"
SNAKEOIL = "/etc/ssl/private/ssl-cert-snakeoil.key"
TOKEN = "ghp_" + "a1B2" * 9
JWT = ".".join(["eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxMjM0NTY3ODkwIn0", "dBjftJeZ4CVPmB92K27uhbUJU1p1r"])
ACCESS = "AKIA" + "Q3EGRIVTZ7XK2LMN"
UNITS = "/etc/systemd/system"
SCRIPT = """#!/bin/bash
PASSWORD=$1
PASSWORD="${2:-}"
DB_PASSWORD=$(cat /run/secrets/db)
TOKEN=`cat /run/token`
TOKEN_FILE=/run/token
SECRET_NAME=database
PASSWORD_PROMPT="Your password"
TOKEN_TTL=21600
API_KEY=<your key>
DB_PASSWORD=changeme
APP_SECRET=@SECRET@
if [ "$PASSWORD" = "hunter22" ]; then echo PASSWORD=hunter22; fi
"""
WANTS = f"{UNITS}/multi-user.target.wants"

RSA_DER = bytes.fromhex("308204bd020100300d06092a864886f70d0101010500048204a7308204a30201")
EC_DER = bytes.fromhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b02")

KEYS = [
    defect("GEN-G28", "debian", write("/root/.ssh/id_rsa", PEM.format("RSA "), 0o600), related=("SH04",)),
    defect("GEN-G28", "debian", write("/root/.ssh/work", PEM.format("OPENSSH "), 0o600), related=("SH04",)),
    defect("GEN-G28", "rhel", write("/etc/pki/tls/private/localhost.key", PEM.format(""), 0o600)),
    defect("GEN-G28", "suse", write("/srv/www/site.conf", f"# both\n{CERTIFICATE}{PEM.format('EC ')}")),
    defect("GEN-G28", "alpine", write("/etc/ssl/private/server.key", PEM.format("ENCRYPTED "))),
    defect(
        "GEN-G28",
        "debian",
        write("/opt/app/account.json", '{"private_key": "' + PEM.format("").replace("\n", "\\n") + '"}'),
    ),
    defect("GEN-G28", "debian", write("/var/lib/mysql/client-key.txt", PEM.format("RSA "))),
    defect("GEN-G28", "debian", write("/usr/local/etc/app.yaml", "key: |\n  " + PEM.format("").replace("\n", "\n  "))),
    defect("GEN-G28", "debian", write("/home/x/key.ppk", "PuTTY-User-Key-File-3: ssh-ed25519\n")),
    defect("GEN-G28", "debian", write("/srv/store.p12", b"0\x82\n\x0e\x02\x01")),
    defect("GEN-G28", "debian", write(SNAKEOIL, PEM.format(""), 0o640)),
    defect("GEN-G28", "suse", write("/etc/ssl/private/site.der", b"0\x82\4\xa4\2\1\0")),
    # Keys in DER: RSA and an elliptic curve; certificates and public keys are none.
    defect("GEN-G28", "debian", write("/etc/ssl/key.der", RSA_DER + bytes(range(1, 200)))),
    defect("GEN-G28", "debian", write("/opt/app/signing.key", EC_DER + bytes(range(1, 100)))),
    benign(
        "GEN-G28",
        "debian",
        write("/etc/ssl/site.crt", bytes.fromhex("30820309308201f1a003020102021409")),
        write("/etc/ssl/site.pub", bytes.fromhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100")),
        write("/etc/ssl/site.rsa", bytes.fromhex("3082010a0282010100cd01acf0f17a5acd7689d9ce1d02693e96d1e26187")),
    ),
    benign("GEN-G28", "suse", write("/etc/ssl/private/dh.pem", "-----BEGIN DH PARAMETERS-----\nMIIBCA\n")),
    benign("GEN-G28", "debian", write("/etc/ssl/certs/site.pem", CERTIFICATE)),
    benign("GEN-G28", "debian", write("/usr/share/doc/openssl/key.pem", PEM.format("RSA "))),
    benign("GEN-G28", "debian", write("/opt/venv/lib/python3.11/site-packages/x/tests/key.pem", PEM.format(""))),
    benign(
        "GEN-G28", "debian", write("/usr/local/bin/check", '#!/bin/sh\ngrep -- "-----BEGIN PRIVATE KEY-----" "$1"\n')
    ),
    benign("GEN-G28", "debian", write("/etc/app.conf", "# -----BEGIN RSA PRIVATE KEY-----\n# your key\n")),
    # Keys of tests, which Python, Go and PHP's libraries bring wherever they are unpacked.
    *(
        benign("GEN-G28", "debian", write(path, PEM.format("EC ")))
        for path in (
            "/usr/local/lib/python3.11/test/certdata/keycert.pem",
            "/root/.pyenv/versions/3.12.1/lib/python3.12/test/ssl_key.pem",
            "/usr/local/go/src/crypto/tls/testdata/example-key.pem",
            "/root/sdk/go1.22.1/src/net/http/internal/key.pem",
        )
    ),
    benign(
        "GEN-G28",
        "debian",
        write("/var/www/app/vendor/autoload.php", "<?php\n"),
        write("/var/www/app/vendor/firebase/php-jwt/README.md", PEM.format("RSA ")),
    ),
    benign("GEN-G28", "debian", write("/opt/app/kafka.truststore.jks", b"\xfe\xed\xfe\xed\0\0\0\2")),
    defect("GEN-G28", "debian", write("/opt/app/kafka.keystore.jks", b"\xfe\xed\xfe\xed\0\0\0\2")),
    defect("GEN-G28", "debian", write("/srv/vendor/own.key", PEM.format("EC "))),
    benign(
        "GEN-G28",
        "debian",
        write("/opt/vendor/sample.key", PEM.format("RSA ")),
        write("/var/lib/dpkg/info/vendor.list", "/.\n/opt\n/opt/vendor\n/opt/vendor/sample.key\n"),
    ),
    benign(
        "GEN-G28",
        "debian",
        write(SNAKEOIL, PEM.format(""), 0o640),
        write(
            "/usr/lib/systemd/system/keys.service",
            "[Service]\nExecStart=/usr/sbin/make-ssl-cert generate-default-snakeoil\n",
        ),
        link(f"{WANTS}/keys.service", "/usr/lib/systemd/system/keys.service"),
        alone=True,
    ),
]
# A record of a TDB as Samba's pdbedit writes it: a header of 24 bytes that ends in a magic number, the key, the data.
TDB = b"TDB file\n" + bytes(159) + b"\x99\x19\1&INFO/version\0\4\0\0\0BBBB"
USER = bytes(20) + b"\x99\x19\1&USER_builder\0" + b"\x11" * 180
SMB = "{0}:1000:XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX:{1}:[U          ]:LCT-5F1B0000:\n"
SASL = "# [mail.example.org]:587 me:Zk3hW9qLm\n#\n"
SASL_DB = b"\0a\x15\6" + bytes(5000) + b"{0}\0[mail.example.org]:587\0" + bytes(90)
SECRETS = [
    defect("GEN-G39", "debian", write("/etc/postfix/sasl_passwd", "[mail.example.org]:587 me@example.org:Zk3hW9qLm\n")),
    defect("GEN-G39", "suse", write("/etc/postfix/sasl_passwd.db", SASL_DB.replace(b"{0}", b"me:Zk3hW9qLm"))),
    defect("GEN-G39", "debian", write("/etc/nginx/.htpasswd", "admin:$apr1$abcdefgh$0123456789abcdefghijkl\n")),
    defect("GEN-G39", "debian", write("/etc/apache2/.htpasswd", "admin:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")),
    defect("GEN-G39", "debian", write("/etc/samba/smbpasswd", SMB.format("root", "0CB6948805F797BF2A82807973B89537"))),
    defect("GEN-G39", "debian", write("/var/lib/samba/private/passdb.tdb", TDB + USER)),
    # As SUSE's Postfix and a Samba that nobody uses yet leave them.
    benign(
        "GEN-G39",
        "suse",
        write("/etc/postfix/sasl_passwd", SASL),
        write("/etc/postfix/sasl_passwd.db", SASL_DB.replace(b"{0}", b"")),
        write("/etc/samba/smbpasswd", SMB.format("root", "X" * 32)),
        write("/var/lib/samba/private/passdb.tdb", TDB),
        write("/etc/apache2/.htpasswd.sample", "admin:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"),
        write("/etc/apache2/.htpasswd", "# admin:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"),
    ),
    defect(
        "GEN-G39", "debian", write("/root/.aws/credentials", "[x]\naws_access_key_id = a\naws_secret_access_key = b\n")
    ),
    defect("GEN-G39", "rhel", write("/root/.docker/config.json", '{"auths": {"r.example.org": {"auth": "dXNlcjpw"}}}')),
    defect("GEN-G39", "suse", write("/home/x/.netrc", "machine example.org login x password y\n")),
    defect("GEN-G39", "alpine", write("/root/.git-credentials", "https://x:y1z2@github.com\n")),
    defect("GEN-G39", "debian", write("/root/.kube/config", "users:\n- user:\n    client-key-data: LS0tLS1\n")),
    defect("GEN-G39", "debian", write("/root/.config/mgc/default/auth.yaml", "access_token: eyJh\n")),
    defect("GEN-G39", "debian", write("/root/.oci/config", "[DEFAULT]\nuser=ocid1\npass_phrase=secret\n")),
    defect("GEN-G39", "debian", write("/root/.config/gcloud/application_default_credentials.json", "{}")),
    defect("GEN-G39", "debian", write("/etc/deploy-token", "abc\n")),
    defect("GEN-G39", "debian", write("/etc/profile.d/ci.sh", f"export GH={TOKEN}\n")),
    defect("GEN-G39", "debian", write("/srv/app/settings.py", f'KEY = "{ACCESS}"\n')),
    defect("GEN-G39", "debian", append("/etc/apt/sources.list", "deb https://ci:s3cr3tpw@deb.example.org/ x main\n")),
    defect("GEN-G39", "debian", write("/etc/apt/auth.conf.d/x.conf", "machine example.org login a password b\n")),
    defect("GEN-G39", "debian", write("/srv/app/.env", "DB_PASSWORD=hunter22\n")),
    defect("GEN-G39", "rhel", write("/root/.my.cnf", "[client]\npassword = x\n")),
    defect("GEN-G39", "rhel", write("/root/.npmrc", "//registry.example.org/:_authToken=abcdef\n")),
    *(
        defect("GEN-G39", "debian", write(path, text))
        for path, text in (
            ("/root/.npmrc", "_auth=dXNlcjpzM2NyM3RwYXNz\n"),
            ("/root/.yarnrc.yml", 'npmAuthToken: "abcdefgh"\n'),
            ("/root/.m2/settings.xml", "<server><password>hunter22</password></server>\n"),
            ("/root/.pypirc", "[pypi]\nusername = me\npassword = s3cr3tpw99\n"),
            ("/root/.cargo/credentials.toml", '[registry]\n  token = "cioabcdefghijklmnop"\n'),
        )
    ),
    *(
        benign("GEN-G39", "debian", write(path, text))
        for path, text in (
            ("/root/.npmrc", "//registry.example.org/:_authToken=${NPM_TOKEN}\n"),
            ("/root/.yarnrc.yml", 'npmAuthToken: "${NPM_TOKEN}"\n'),
            ("/root/.m2/settings.xml", "<server><password>${env.PASS}</password></server>\n"),
            ("/root/.npmrc", "# _auth=x\n\n;_authToken=y\nregistry=https://registry.example.org/\n"),
            ("/root/.pypirc", "[pypi]\nusername = me\n  #password = s3cr3tpw99\n"),
            ("/root/.cargo/credentials.toml", '[registry]\n# token = "x"\n'),
            ("/etc/pip.conf", "[global]\nextra-index-url=https://www.piwheels.org/simple\n"),
        )
    ),
    defect("GEN-G39", "debian", write("/etc/profile.d/x.sh", "export APP_SECRET=abcdefg\n")),
    defect("GEN-G39", "debian", write("/root/.bashrc", "TOKEN=abcdefg\n")),
    defect("GEN-G39", "rhel", write("/opt/app/session", f"{JWT}\n")),
    benign(
        "GEN-G39", "debian", write("/etc/systemd/system/resolve.service", "[Service]\nImportCredential=network.dns\n")
    ),
    benign("GEN-G39", "debian", write("/etc/profile.d/x.sh", "export APP_TOKEN_FILE=run/x\nTOKEN=$(cat /run/x)\n")),
    defect("GEN-G39", "debian", write("/srv/backup/db", f"eve:$6$saltsalt${'h' * 43}:19000:0:99999:7:::\n")),
    defect("GEN-G39", "debian", write("/var/www/html/wp-config.php", "define('DB_PASSWORD', 'hunter22');\n")),
    benign("GEN-G39", "debian", write("/root/.docker/config.json", '{"auths": {}, "credsStore": "pass"}')),
    benign("GEN-G39", "debian", write("/root/.aws/config", "[default]\nregion = us-east-1\n")),
    benign("GEN-G39", "debian", write("/etc/apt/auth.conf", " # machine example.org login a password b\n")),
    benign("GEN-G39", "debian", write("/root/.netrc", "# machine example.org login x password y\n\n")),
    benign("GEN-G39", "debian", write("/root/.kube/config", "apiVersion: v1\nusers: []\n")),
    benign("GEN-G39", "debian", write("/etc/wgetrc", "#http_proxy = http://user:secret@proxy.example.org:8080/\n")),
    benign(
        "GEN-G39",
        "debian",
        write("/srv/README", "aws_access_key_id = AKIAIOSFODNN7EXAMPLE\nhttps://user:password@host/\n"),
    ),
    benign("GEN-G39", "debian", write("/srv/app/.env", "DB_HOST=localhost\nDB_PASSWORD=\nAPI_KEY=${KEY}\n")),
    benign("GEN-G39", "debian", write("/srv/other/.env", "REDIS_PASSWORD=null\nMAIL_PASSWORD='none' # yet\nKEY=a\n")),
    benign("GEN-G39", "debian", write("/srv/app/.env.example", "DB_PASSWORD=changeme\nAPI_KEY=your-key-here\n")),
    benign("GEN-G39", "debian", write("/opt/app/.env.dist", "APP_SECRET=ThisTokenIsNotSoSecretChangeIt\n")),
    defect("GEN-G39", "debian", write("/srv/app/.env.example", f"GH={TOKEN}\n")),  # a real one is one anywhere
    defect("GEN-G39", "debian", write("/srv/app/.env.production", "DB_PASSWORD=nullpointer7\n")),
    benign("GEN-G39", "debian", write("/etc/rabbitmq/x.conf", "url = amqp://guest:guest@localhost:5672/\n")),
    benign(
        "GEN-G39",
        "debian",
        write("/srv/app/UserFactory.php", "'$2y$10$92IXUNpkjO0rOQ5byMi.Ye4oKoEa3Ro9llC/.og/at2.uheWG/igi',\n"),
    ),
    *(
        defect("GEN-G39", family, change)
        for family, change in (
            ("debian", write("/root/deploy.sh", "#!/bin/sh\nexport OS_PASSWORD=Zk3hW9qLm\n")),
            ("debian", write("/home/x/admin-openrc", "export OS_PASSWORD='Zk3hW9qLm'\n")),
            ("debian", write("/root/ci.sh", "readonly API_KEY=Zk3hW9qLm\n")),
            ("debian", write("/etc/profile", "export API_KEY=Zk3hW9qLm123\n")),
            ("rhel", write("/etc/bashrc", "export API_TOKEN=Zk3hW9qLm123\n")),
            ("debian", write("/etc/default/app", "DB_PASSWORD=Zk3hW9qLm\n")),
            ("rhel", write("/etc/sysconfig/app", 'APP_SECRET="Zk3hW9qLm"\n')),
        )
    ),
    benign(
        "GEN-G39",
        "debian",
        write("/root/setup.sh", SCRIPT),
        write("/root/demo-openrc.sh", "read -sr OS_PASSWORD_INPUT\nexport OS_PASSWORD=$OS_PASSWORD_INPUT\n"),
        write("/etc/default/app", "#DB_PASSWORD=Zk3hW9qLm\nDB_PASSWORD=\nAPI_TOKEN=your-token-here\nMAX_TOKENS=4096\n"),
        write("/usr/sbin/helper.sh", "PASSWORD=hunter22\n"),
    ),
    benign(  # as CentOS 7 and openSUSE have them
        "GEN-G39",
        "rhel",
        write("/etc/sysconfig/authconfig", "USEPASSWDQC=no\nPASSWDALGORITHM=sha512\nUSESHADOW=yes\n"),
        write("/etc/sysconfig/displaymanager", 'DISPLAYMANAGER_PASSWORD_LESS_LOGIN="no"\nX_PASSWORD=never\n'),
    ),
    benign("GEN-G39", "debian", write("/root/.gitconfig", "[user]\nname = x\n[credential]\nhelper = store\n")),
    defect("GEN-G39", "debian", write(f"{UNITS}/x.service", "[Service]\nEnvironment=A=1 API_TOKEN=abcdefg\n")),
    benign("GEN-G39", "debian", write(f"{UNITS}/x.service", "[Service]\nImportCredential=network.dns\n")),
    benign("GEN-G39", "debian", write("/etc/environment", 'PATH="/usr/bin"\n'), write("/etc/deploy-token.d", "")),
    benign(
        "GEN-G39", "debian", write("/usr/share/x/.npmrc", "_authToken=abcdef\n"), write("/root/.pgpass", "#h:1:d:u:p\n")
    ),
]
CASES: list[Case] = KEYS + SECRETS


@pytest.mark.real
@pytest.mark.parametrize("group", cases(CASES))
def test_rule(group: list[Case], tmp_path: Path) -> None:
    prove(group, tmp_path)
