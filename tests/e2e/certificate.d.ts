export interface CertificateFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
  /** As PEM. */
  readonly certificate: string;
}
/** For 127.0.0.1 and localhost, unless told otherwise; the files are for their owner only. */
export declare function makeCertificate(
  folder: string,
  {
    name,
    host,
  }?: {
    readonly name?: string;
    readonly host?: string;
  },
): Promise<CertificateFiles>;
//# sourceMappingURL=certificate.d.ts.map
