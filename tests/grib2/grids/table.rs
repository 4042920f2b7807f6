//! Every different grid of the decoder suite and who says where its points are.

/// Who says where the points of a grid are.
pub(super) enum Reference {
    /// ecCodes.
    EcCodes,
    /// PROJ, and why not ecCodes.
    Proj(&'static str),
    /// Equal steps between the corners, and why not ecCodes.
    Corners(&'static str),
    /// Nobody here: the grid is not understood; part of the error's text.
    Refused(&'static str),
}

use Reference::{Corners, EcCodes, Proj, Refused};

/// ecCodes 2.50 answers "Function not yet implemented" for template 3.31.
const NOT_IMPLEMENTED: &str = "ecCodes has no coordinates for template 3.31";
/// Template 3.20 holds on any earth of section 3, octet 15 (code table 3.2).
const SPHERE_ONLY: &str = "ecCodes: polar stereographic is \"only supported for spherical earth\"";
/// Template 3.1 turns coordinates on the sphere without rounding. ecCodes rounds what comes out to 32 bits, 24 of them
/// significant: by up to 0.000008° of longitude.
const SINGLE: &str = "ecCodes rounds the coordinates of turned globes to 32-bit floats";
/// Both corners and the increments of section 3, octets 47 to 71, are whole millionths of a degree: 330 steps of
/// 0.166667° pass the last corner, 0°, by 0.00011°, 335 of 0.083333° miss it by as much. ecCodes puts the last row
/// alone on the corner, and every longitude where the corners have it.
const ADDED_UP: &str = "ecCodes adds up latitudes in rounded steps; its last two rows are further apart or closer";

/// The first file with the grid, the grid's description (empty where it is refused) and its reference.
pub(super) type Row = (&'static str, &'static str, Reference);

pub(super) const GRIDS: &[Row] = &[
    ("gdal/CMC_rdwps_lake-erie_ICEC_SFC_0_latlon0.05x0.05_2017111800_P000.grib2", "lat-lon 98×35, 0.05°", EcCodes),
    ("gdal/MANAL_2023030103_fake_wrong_grid_origin_latitude.grb2", "Lambert 721×577, 5000 m", EcCodes),
    ("gdal/MRMS_EchoTop_18_00.50_20161015-133230.grib2", "lat-lon 3000×1500, 0.01°", EcCodes),
    ("gdal/albers_equal_area.grb2", "Albers 26×26, 60.022 m", Proj(NOT_IMPLEMENTED)),
    ("gdal/blend.t17z.master.f001.co.grib2.head", "Lambert 2345×1597, 2539.703 m", EcCodes),
    ("gdal/broken_combined_grib2_grib1.grb2", "lat-lon 36×18, 10°", EcCodes),
    ("gdal/byte_wrong_earth_shape.grib2", "", Refused("3.12 (transverse Mercator)")),
    ("gdal/ds.mint.bin", "Mercator 177×129, 2500 m", EcCodes),
    ("gdal/gfs.t06z.pgrb2.1p0.grib2", "lat-lon 36×18, 10°", EcCodes),
    ("gdal/gfs.t06z.pgrb2.1p0.partial_across_am.grib2", "lat-lon 25×18, 10°", EcCodes),
    ("gdal/gfs.t06z.pgrb2.1p0.partial_east_of_am.grib2", "lat-lon 3×18, 10°", EcCodes),
    ("gdal/gfs.t06z.pgrb2.1p0.partial_west_of_am.grib2", "lat-lon 3×18, 10°", EcCodes),
    ("gdal/gfswave-11.t00z.global.0p25.f000.grib2", "lat-lon 1440×721, 0.25°", EcCodes),
    ("gdal/ieee754_double.grb2", "lat-lon 22×18, 0.000598°", EcCodes),
    ("gdal/jpeg2000_nbits_zero_decimal_scaled.grb2", "lat-lon 1×1, 0.013159×0.010766°", EcCodes),
    ("gdal/laea_with_negative_longitudes_issue_7456.grib2", "LAEA 1×1, 2000 m", EcCodes),
    ("gdal/lambert_azimuthal_equal_area.grb2", "LAEA 20×20, 60.021 m", EcCodes),
    ("gdal/lambert_conformal_conic.grb2", "Lambert 26×26, 60.021 m", EcCodes),
    ("gdal/mercator.grb2", "Mercator 20×20, 72.237 m", EcCodes),
    ("gdal/mercator_2sp.grb2", "Mercator 20×20, 60.299 m", EcCodes),
    ("gdal/minx_180.grib2", "lat-lon 2879×1, 0.125°", EcCodes),
    ("gdal/one_one.grib2", "lat-lon 1×1, 0.5°", EcCodes),
    ("gdal/one_value_and_nodata_points.grb2", "lat-lon 20×20, 0.25°", EcCodes),
    ("gdal/parameter_in_wmo_tables_only.grb2", "", Refused("3.12 (transverse Mercator)")),
    ("gdal/polar_stereographic.grb2", "polar stereographic 27×27, 71.86 m", Proj(SPHERE_ONLY)),
    ("gdal/rotated_pole.grb2.begin", "rotated lat-lon 1102×1076, 0.09°", Proj(SINGLE)),
    ("gdal/spatial_differencing_order_1.grb2", "Mercator 177×129, 2500 m", EcCodes),
    ("gdal/subgrids.grib2", "", Refused("3.12 (transverse Mercator)")),
    ("gdal/subgrids_reuse_bitmap.grib2", "", Refused("3.12 (transverse Mercator)")),
    ("gdal/template_4_12_spread.grb2", "polar stereographic 1×1, 15000 m", EcCodes),
    ("gdal/template_4_15.grb2", "lat-lon 288×145, 1.25°", EcCodes),
    ("gdal/template_4_40.grb2", "lat-lon 700×400, 0.1°", EcCodes),
    ("gdal/template_4_48.grb2", "polar stereographic 1×1, 10000 m", EcCodes),
    ("gdal/template_5_42_ccsds_aec.grb2", "lat-lon 900×451, 0.4°", EcCodes),
    ("gdal/transverse_mercator.grb2", "", Refused("3.12 (transverse Mercator)")),
    ("gdal/twenty-se27w.2017102006.hwrfsat.core.0p02.f000_truncated.grb2", "lat-lon 501×501, 0.02°", EcCodes),
    ("grib-rs/20250912120000-0h-oper-fc.grib2.89.xz", "lat-lon 1440×721, 0.25°", EcCodes),
    (
        "grib-rs/20260219T00Z_MSC_HRDPS_CAPE_Sfc_RLatLon0.0225_PT000H.grib2",
        "rotated lat-lon 2540×1290, 0.0225°",
        EcCodes,
    ),
    (
        "grib-rs/CMC_RDPA_APCP-024-0100cutoff_SFC_0_ps10km_2023121806_000.grib2.xz",
        "polar stereographic 935×824, 10000 m",
        EcCodes,
    ),
    ("grib-rs/CMC_glb_TMP_ISBL_1_latlon.24x.24_2021051800_P000.grib2", "lat-lon 1500×751, 0.24°", EcCodes),
    ("grib-rs/MRMS_MergedRhoHV_19.00_20260219-042039.grib2.gz", "lat-lon 7000×3500, 0.01°", EcCodes),
    ("grib-rs/MRMS_PrecipFlag_00.00_20260219-042400.grib2.gz", "lat-lon 7000×3500, 0.01°", EcCodes),
    (
        "grib-rs/Z__C_RJTD_20160822020000_NOWC_GPV_Ggis10km_Pphw10_FH0000-0100_grib2.bin",
        "lat-lon 256×336, 0.125×0.083333°",
        Corners(ADDED_UP),
    ),
    (
        "grib-rs/Z__C_RJTD_20170221120000_MSG_GPV_Gll0p5deg_Pys_B20170221120000_F2017022115-2017022212_grib2.bin.xz",
        "lat-lon 81×61, 0.5°",
        EcCodes,
    ),
    (
        "grib-rs/Z__C_RJTD_20190304000000_MSM_GUID_Rjp_P-all_FH03-39_Toorg_grib2.bin.xz",
        "lat-lon 480×560, 0.0625×0.05°",
        EcCodes,
    ),
    (
        "grib-rs/Z__C_RJTD_20190304000000_MSM_GUID_Rjp_P-all_FH03-39_Toorg_grib2.bin.xz",
        "lat-lon 121×141, 0.25×0.2°",
        EcCodes,
    ),
    (
        "grib-rs/Z__C_RJTD_20190605000000_MEPS_GPV_Rjp_L-pall_FH00-15_grib2.bin.0-20.xz",
        "lat-lon 241×253, 0.125×0.1°",
        EcCodes,
    ),
    ("grib-rs/ds.critfireo.bin.xz", "Lambert 2145×1377, 2539.703 m", EcCodes),
    ("grib-rs/ds.minrh.bin.xz", "Lambert 2145×1377, 2539.703 m", EcCodes),
    ("grib-rs/gdas.t00z.sfluxgrbf000.grib2.0.xz", "Gaussian N768 3072×1536, 0.117188°", EcCodes),
    ("grib-rs/gdas.t12z.pgrb2.0p25.f000.12.xz", "lat-lon 1440×721, 0.25°", EcCodes),
    ("grib-rs/icon_global_icosahedral_single-level_2021112018_000_TOT_PREC.grib2", "", Refused("3.101 (unstructured)")),
    ("grib-rs/wind_solar_ind_0.125_20240521_12Z.grib2.0.xz", "lat-lon 249×249, 0.125°", EcCodes),
    ("grib-rust/forecast.grib2", "lat-lon 2×2, 1°", EcCodes),
    ("grib-rust/noaa-hrrr-conus-lambert-refc.grib2", "Lambert 1799×1059, 3000 m", EcCodes),
    ("gribberish/gfswave.t18z.atlocn.0p16.f001.grib2", "lat-lon 301×331, 0.166667°", Corners(ADDED_UP)),
    ("griblib/template5_0.grib2", "lat-lon 360×181, 1°", EcCodes),
    ("gribtract/drt2_simple_3x3.grib2", "lat-lon 3×3, 10°", EcCodes),
    ("gribtract/drt40_j2k_3x2.grib2", "lat-lon 3×2, 10°", EcCodes),
    ("gribtract/gfs_anl_t2m_5x5.grib2", "lat-lon 5×5, 10°", EcCodes),
    ("gribtract/gfs_gaussian_gdt40_drt0.grib2", "", Refused("a Gaussian latitude, the nearest 73.799214°, found 80°")),
    ("gribtract/gfswave_arctic_wind_drt40.grib2", "polar stereographic 1006×1006, 9000 m", Proj(SPHERE_ONLY)),
    ("gribtract/pdt1_ensemble_3x2.grib2", "lat-lon 3×2, 10°", EcCodes),
    ("gribtract/rotated_latlon_gdt1_drt0.grib2", "", Refused("at least 76 octets, found 72")),
];
