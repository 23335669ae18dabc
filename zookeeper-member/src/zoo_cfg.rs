use std::path::Path;

use crate::{
    claim::{Folders, POINTER},
    configure::Settings,
};

/// What logback writes, and where: the container's standard output.
pub(crate) const LOGBACK: &str = r#"<configuration>
  <appender name="STDOUT" class="ch.qos.logback.core.ConsoleAppender">
    <encoder>
      <pattern>%d{ISO8601} %-5p [%t] %c{1} - %m%n</pattern>
    </encoder>
  </appender>
  <root level="${kv.zookeeper.log:-INFO}">
    <appender-ref ref="STDOUT" />
  </root>
</configuration>
"#;

/// The static part of the configuration. It may be written anew at each start; its last line points to the dynamic part.
///
/// Without `standaloneEnabled=false` a lone member refuses to be reconfigured; without `db.autocreate=false` wiped members
/// elect an empty ensemble; without `quorumListenOnAllIPs` a member ends whose own name can't be resolved yet. `syncLimit` is how
/// soon a leader is missed whose machine is gone, and nothing fails over before there is another one: 3 ticks leave the nodes' clients
/// more than half of their ten seconds.
pub(crate) fn text(folders: &Folders, settings: &Settings, pointer: &Path) -> String {
    let (data, datalog) = (folders.data.display(), folders.datalog.display());
    let tick = settings.tick_millis;
    let mut text = format!(
        "tickTime={tick}\n\
         initLimit=10\n\
         syncLimit=3\n\
         dataDir={data}\n\
         dataLogDir={datalog}\n\
         standaloneEnabled=false\n\
         reconfigEnabled=true\n\
         db.autocreate=false\n\
         quorumListenOnAllIPs=true\n\
         4lw.commands.whitelist=srvr,ruok,mntr,conf\n\
         admin.enableServer=false\n\
         autopurge.snapRetainCount=3\n\
         autopurge.purgeInterval=6\n"
    );
    if let Some(digest) = &settings.super_digest {
        text += &format!("DigestAuthenticationProvider.superDigest={digest}\n");
    }
    if let Some(port) = settings.metrics_port {
        text += "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n";
        text += &format!("metricsProvider.httpPort={port}\n");
    }
    text + &format!("{POINTER}{}\n", pointer.display())
}
