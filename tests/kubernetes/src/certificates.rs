//! A certificate authority for one cluster, and what it signs. Pods verify the API server by it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use rustix::fs::Mode;

use crate::{
    command::run,
    error::{Error, Result},
    layout::{make_folder, write_file},
};

/// Longer than any cluster lives.
const DAYS: &str = "3650";
const CURVE: &str = "ec_paramgen_curve:prime256v1";

/// The authority: its key and what it has signed are files of one folder.
#[derive(Clone, Debug)]
pub(crate) struct Authority {
    folder: PathBuf,
}

/// Whom a certificate names.
#[derive(Clone, Debug)]
pub(crate) struct Subject<'a> {
    /// To Kubernetes, the user.
    pub(crate) name: &'a str,
    /// To Kubernetes, the user's group.
    pub(crate) group: Option<&'a str>,
    /// Where it serves, as OpenSSL writes it: `IP:198.18.0.10,DNS:kubernetes`.
    pub(crate) serves_at: &'a str,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    /// The one that was made in `folder`.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Makes one, with the key that service accounts' tokens are signed with.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        make_folder(folder)?;
        let private = Mode::RWXU;
        rustix::fs::chmod(folder, private).map_err(|error| Error::file("protect", folder)(error.into()))?;
        let authority = Self::of(folder);
        let Certificate { certificate, key } = authority.files("ca");
        let extensions = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign";
        let subject = Subject { name: "kv-kubernetes", group: None, serves_at: "" };
        run(Command::new("openssl")
            .args(authority.request("ca", &subject, extensions)?)
            .args(outputs(&key, &certificate)))?;
        let (key, public) = (authority.service_accounts_key(), authority.service_accounts_public_key());
        run(Command::new("openssl").args(["genpkey", "-algorithm", "EC", "-pkeyopt", CURVE, "-out"]).arg(&key))?;
        run(Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(key).arg("-out").arg(public))?;
        Ok(authority)
    }

    /// What verifies everything that it signs.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.files("ca").certificate
    }

    pub(crate) fn service_accounts_key(&self) -> PathBuf {
        self.folder.join("service-accounts.key")
    }

    pub(crate) fn service_accounts_public_key(&self) -> PathBuf {
        self.folder.join("service-accounts.pub")
    }

    /// Signs a new certificate, for clients and servers. The files are called `file`.
    pub(crate) fn sign(&self, file: &str, subject: &Subject<'_>) -> Result<Certificate> {
        let mut extensions = "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
                              extendedKeyUsage=serverAuth,clientAuth"
            .to_owned();
        if !subject.serves_at.is_empty() {
            extensions += &format!("\nsubjectAltName={}", subject.serves_at);
        }
        let files = self.files(file);
        let authority = self.files("ca");
        let mut openssl = Command::new("openssl");
        openssl
            .args(self.request(file, subject, &extensions)?)
            .args(outputs(&files.key, &files.certificate))
            .arg("-CA")
            .arg(&authority.certificate)
            .arg("-CAkey")
            .arg(&authority.key);
        run(&mut openssl)?;
        Ok(files)
    }

    fn files(&self, file: &str) -> Certificate {
        let path = |ending: &str| self.folder.join(format!("{file}.{ending}"));
        Certificate { certificate: path("crt"), key: path("key") }
    }

    /// A configuration of its own: what a machine has in its openssl.cnf doesn't matter.
    fn request(&self, file: &str, subject: &Subject<'_>, extensions: &str) -> Result<Vec<String>> {
        let group = subject.group.map(|group| format!("O={group}\n")).unwrap_or_default();
        let text = format!(
            "[req]\nprompt=no\ndistinguished_name=subject\nx509_extensions=extensions\n\
             [subject]\n{group}CN={}\n[extensions]\nsubjectKeyIdentifier=hash\n{extensions}\n",
            subject.name
        );
        let path = self.folder.join(format!("{file}.cnf"));
        write_file(&path, text)?;
        let path = path.display().to_string();
        let words =
            ["req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", CURVE, "-noenc", "-days", DAYS, "-config", &path];
        Ok(words.map(str::to_owned).to_vec())
    }
}

fn outputs(key: &Path, certificate: &Path) -> [String; 4] {
    ["-keyout".into(), key.display().to_string(), "-out".into(), certificate.display().to_string()]
}
